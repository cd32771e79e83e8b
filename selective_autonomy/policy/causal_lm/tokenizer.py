"""Tokenizers: one trained on the traces, or any Hugging Face one extended by the contract's markers.

Markers are special tokens, reached by id only; text is always encoded with special tokens switched off.
So customer text that looks like a marker stays text whatever the tokenizer, and each piece is encoded on
its own, which keeps prompts prefix-stable at the level of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.pieces import Marker, Text, unescape
from selective_autonomy.contract.rendering import Segment
from selective_autonomy.errors import ModelError

PAD = "<|pad|>"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer of at most `vocabulary` tokens, markers not counted; lossless on any text.

    Digits are tokens of their own: a number can then be copied digit by digit, also one never seen.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def add_markers(tokenizer: Any, contract: Contract) -> list[int]:
    """Add the contract's markers, and a pad token where there is none of its own; the ids of the new ones.

    pad == eos is replaced: it would mask the end of every action out of the loss.
    """
    from tokenizers import AddedToken

    before = len(tokenizer)
    marks = [AddedToken(str(m), special=True, normalized=False) for m in contract.markers]
    tokenizer.add_tokens(marks, special_tokens=True)
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.add_special_tokens({"pad_token": PAD})
    return list(range(before, len(tokenizer)))


class Encoder:
    """Pieces and segments to token ids and back, for one contract and one tokenizer.

    Raises:
        ModelError: the tokenizer lacks a marker, or splits one.
    """

    def __init__(self, contract: Contract, tokenizer: Any) -> None:
        self.contract = contract
        self.tokenizer = tokenizer
        known = tokenizer.get_vocab()
        lost = [str(m) for m in contract.markers if str(m) not in known]
        if lost:
            raise ModelError(
                f"the tokenizer lacks {len(lost)} markers of the contract, the first is {lost[0]!r}; "
                "add them with add_markers before training"
            )
        self._ids = {marker: int(known[str(marker)]) for marker in contract.markers}
        self._text_ids = lru_cache(maxsize=50_000)(self._encode_text)  # replies and screens repeat

    def marker_id(self, marker: Marker) -> int:
        return self._ids[marker]

    def text_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of one text piece; never a marker."""
        return self._text_ids(text)

    def encode(self, segment: Segment) -> list[int]:
        ids: list[int] = []
        for piece in segment.pieces:
            if isinstance(piece, Marker):
                ids.append(self._ids[piece])
            else:
                ids.extend(self.text_ids(piece.text))
        return ids

    def decode_text(self, ids: Sequence[int]) -> str:
        """The text of generated tokens, without the space that opens a piece. Broken UTF-8 becomes U+FFFD."""
        written = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return unescape(written.removeprefix(" "))

    @cached_property
    def is_text(self) -> NDArray[np.bool_]:
        """(V,): True for tokens that may stand in a text: all but markers and other special tokens."""
        mask = np.ones(len(self.tokenizer), dtype=bool)
        special = {*self._ids.values(), *self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        mask[sorted(special)] = False
        return mask

    @cached_property
    def is_word(self) -> NDArray[np.bool_]:
        """(V,): True for text tokens that alone read as something visible, no half of a character."""
        texts = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))], skip_special_tokens=False)
        words = np.array([bool(text.strip()) and "\ufffd" not in text for text in texts], dtype=bool)
        is_word: NDArray[np.bool_] = self.is_text & words
        return is_word

    @cached_property
    def chars(self) -> NDArray[np.int64]:
        """(V,): at most how many characters a token adds to a text; its opening space counts."""
        return np.array([len(token or "") for token in self._tokens])

    @cached_property
    def opens_word(self) -> NDArray[np.bool_]:
        """(V,): True for tokens that begin with the space before a word."""
        return np.array([(token or "").startswith(("Ġ", "▁")) for token in self._tokens])

    @cached_property
    def _tokens(self) -> list[str | None]:
        tokens: list[str | None] = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        return tokens

    def _encode_text(self, text: str) -> tuple[int, ...]:
        encoded = self.tokenizer(str(Text(text)), add_special_tokens=False, split_special_tokens=True)
        return tuple(encoded["input_ids"])
