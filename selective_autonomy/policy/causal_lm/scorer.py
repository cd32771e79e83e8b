"""Scores the legal heads of a step from the model's state: by marker, by words, and by place in the procedure.

    score(a) = state · (marker_a + words_a + type_a) + mlp(features_a, state)

A marker is an embedding of its own for each head, learned where the head was done; words and features say something of
heads that never were. Where an open procedure was never trained on, the markers of all heads that belong to procedures
are left out: a trained marker beside an untrained one would win by having been trained. Batches of training do the
same now and then, so that the rest learns to do without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selective_autonomy.contract.pieces import Marker
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.heads.features import FEATURES, HeadFeatures
from selective_autonomy.policy.heads.labels import head_text
from selective_autonomy.process.actions import ACTION_TYPES, head_type
from selective_autonomy.process.schema import ProcessSchema

_WIDTH = 48  # of the layer that joins features and state; no other width was tried
_INITIAL_STD = 0.02
_FILE = "scorer.safetensors"


@dataclass(frozen=True, slots=True)
class HeadChoices:
    """What N steps may choose from, K legal heads at most.

    `heads` (N, K): indices into the process's heads. `legal` (N, K): False is padding. `features` (N, K, F).
    """

    heads: torch.Tensor
    legal: torch.Tensor
    features: torch.Tensor

    @classmethod
    def of(
        cls, heads: Sequence[NDArray[np.int64]], features: Sequence[NDArray[np.float32]], device: torch.device | str
    ) -> HeadChoices:
        """From one row a step: its legal heads (A,) and their features (A, F)."""
        counts = np.array([len(row) for row in heads])
        step = np.repeat(np.arange(len(heads)), counts)
        place = np.concatenate([np.arange(count) for count in counts])
        heads_NK = torch.zeros((len(heads), int(counts.max())), dtype=torch.long)
        legal_NK = torch.zeros(heads_NK.shape, dtype=torch.bool)
        x_NKF = torch.zeros((*heads_NK.shape, len(FEATURES)))
        heads_NK[step, place] = torch.from_numpy(np.concatenate(heads))
        legal_NK[step, place] = True
        x_NKF[step, place] = torch.from_numpy(np.concatenate(features))
        return cls(heads_NK.to(device), legal_NK.to(device), x_NKF.to(device))


class HeadScorer(torch.nn.Module):
    """The scores of legal heads for one process and one tokenizer.

    Args:
        width: of the model's states. sentences (H, s): an embedding of each head's text; None: the mean of the model's
            own word embeddings. dropout: while training, of states and of input embeddings.
        unnamed: share of training batches without the markers of procedures' own heads.
    """

    trained_H: torch.Tensor
    _ids_H: torch.Tensor
    _head_at_V: torch.Tensor
    _own_H: torch.Tensor
    _words: torch.Tensor
    _starts_H: torch.Tensor
    _types_H: torch.Tensor
    _sentences_Hs: torch.Tensor | None

    def __init__(
        self,
        schema: ProcessSchema,
        encoder: Encoder,
        *,
        width: int,
        sentences: NDArray[np.float32] | None = None,
        dropout: float = 0.0,
        unnamed: float = 0.0,
    ) -> None:
        super().__init__()
        self.schema, self.names = schema, encoder.contract.heads
        self._index = {name: i for i, name in enumerate(self.names)}
        self.features = HeadFeatures(schema)
        self._dropout, self._unnamed = dropout, unnamed
        words = [encoder.text_ids(head_text(schema, name)) for name in self.names]
        ids_H = torch.tensor([encoder.marker_id(Marker(name)) for name in self.names])
        head_at_V = torch.full((len(encoder.tokenizer),), -1)
        head_at_V[ids_H] = torch.arange(len(self.names))
        own_H = torch.tensor([bool(self.features.procedures_of(name)) for name in self.names])
        fixed = {
            "_ids_H": ids_H,
            "_head_at_V": head_at_V,
            "_own_H": own_H,
            "_words": torch.tensor([token for ids in words for token in ids]),
            "_starts_H": torch.tensor([0, *np.cumsum([len(ids) for ids in words])[:-1].tolist()]),
            "_types_H": torch.tensor([ACTION_TYPES.index(head_type(name)) for name in self.names]),
        }
        for name, tensor in fixed.items():
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("trained_H", torch.zeros(len(self.names), dtype=torch.bool))
        self.register_buffer("_sentences_Hs", None if sentences is None else torch.from_numpy(sentences))
        text_width = width if sentences is None else sentences.shape[1]
        self.to_output = torch.nn.Linear(text_width, width, bias=False)
        self.to_input = torch.nn.Linear(text_width, width, bias=False)
        self.types = torch.nn.Embedding(len(ACTION_TYPES), width)
        self.of_features = torch.nn.Linear(len(FEATURES), _WIDTH)
        self.of_state = torch.nn.Linear(width, _WIDTH)
        self.join = torch.nn.Linear(_WIDTH, 1)
        for layer in (self.to_output, self.to_input):
            torch.nn.init.normal_(layer.weight, std=_INITIAL_STD)
        for zero in (self.types, self.join):
            torch.nn.init.zeros_(zero.weight)
        self._named_H: torch.Tensor | None = None
        self._said: dict[torch.nn.Linear, torch.Tensor] = {}

    def indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self._index[name] for name in names], dtype=np.int64)

    def train(self, mode: bool = True) -> HeadScorer:
        self._said.clear()
        return super().train(mode)

    def attach(self, model: Any) -> None:
        """Let the model read a head's marker with its words from now on, whoever calls it."""
        model.get_input_embeddings().register_forward_hook(self._read)

    def draw_names(self) -> None:
        """Before each training batch: decide whether it knows the markers of procedures' own heads."""
        dropped = bool(torch.rand(()) < self._unnamed)
        self._named_H = (~self._own_H if dropped else torch.ones_like(self._own_H)).float()

    def knows(self, procedures: Sequence[str]) -> bool:
        """Whether training had, of every open procedure with heads of its own, one that is no other's.

        A reply that it shares with a trained procedure says nothing of its other heads, whose markers are untrained.
        Only where all are shared does one of them suffice.
        """
        return all(map(self._knows, procedures))

    def _knows(self, procedure: str) -> bool:
        owners = {name: self.features.procedures_of(name) for name in self.names}
        own = [name for name in self.names if procedure in owners[name]]
        heads = [name for name in own if len(owners[name]) == 1] or own
        return not heads or bool(self.trained_H[self.indices(heads)].any())

    def forward(
        self,
        states_Nd: torch.Tensor,
        choices: HeadChoices,
        markers_Vd: torch.Tensor,
        words_Vd: torch.Tensor,
        named_N: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Scores (N, K), -inf where nothing is legal.

        Args:
            markers_Vd, words_Vd: the model's output and input tables.
            named_N: while not training, which steps know the markers of procedures' own heads; None: all.
        """
        states_Nd = torch.nn.functional.dropout(states_Nd, self._dropout, self.training)
        own_H = self._own_H.float()
        named_NH = torch.ones((len(states_Nd), len(self.names)), device=states_Nd.device)
        if self.training and self._named_H is not None:
            named_NH = named_NH * self._named_H
        elif not self.training:
            named_NH = named_NH * self.trained_H.float()
            if named_N is not None:
                named_NH = named_NH * (1 - own_H * (~named_N).float()[:, None])
        scores_NH = (states_Nd @ markers_Vd[self._ids_H].T) * named_NH
        scores_NH = scores_NH + states_Nd @ self._words_through(self.to_output, words_Vd).T
        joined = self.of_features(choices.features) + self.of_state(states_Nd)[:, None]
        scores_NK = scores_NH.gather(1, choices.heads) + self.join(torch.nn.functional.gelu(joined)).squeeze(-1)
        legal_NK: torch.Tensor = scores_NK.float().masked_fill(~choices.legal, float("-inf"))
        return legal_NK

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / _FILE)

    @classmethod
    def load(cls, folder: Path, schema: ProcessSchema, encoder: Encoder, *, width: int) -> HeadScorer:
        """Read what `save` wrote.

        Raises:
            ModelError: it is missing, or of another process or width.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights = load_file(folder / _FILE)
            sentences = weights.get("_sentences_Hs")
            scorer = cls(schema, encoder, width=width, sentences=None if sentences is None else sentences.numpy())
            scorer.load_state_dict(weights)
        except (OSError, RuntimeError, SafetensorError) as err:
            raise ModelError(f"{folder / _FILE} holds no scorer of this policy: {err}; train it again") from err
        return scorer

    def _words_through(self, layer: torch.nn.Linear, words_Vd: torch.Tensor) -> torch.Tensor:
        """(H, d): the words and the type of each head; while nothing is trained nothing changes, so they are kept."""
        if self.training:
            return layer(self._texts(words_Vd)) + self.types(self._types_H)  # type: ignore[no-any-return]
        if layer not in self._said:
            self._said[layer] = (layer(self._texts(words_Vd)) + self.types(self._types_H)).detach()
        return self._said[layer]

    def _texts(self, words_Vd: torch.Tensor) -> torch.Tensor:
        """(H, s): the words of each head, as a sentence encoder or the model's own word embeddings have them."""
        if self._sentences_Hs is not None:
            return self._sentences_Hs
        mean_Hd = torch.nn.functional.embedding_bag(self._words, words_Vd, self._starts_H, mode="mean")
        return torch.nn.functional.layer_norm(mean_Hd, mean_Hd.shape[-1:])

    def _read(self, table: Any, inputs: tuple[torch.Tensor], embedded: torch.Tensor) -> torch.Tensor:
        head_BT = self._head_at_V[inputs[0]]
        is_head_BT = (head_BT >= 0)[..., None]
        known_H = self._named_H if self.training and self._named_H is not None else self.trained_H.float()
        words_Hd = self._words_through(self.to_input, table.weight)
        head_BT = head_BT.clamp(min=0)
        read = torch.where(is_head_BT, embedded * known_H[head_BT][..., None] + words_Hd[head_BT], embedded)
        if self.training and self._dropout:
            kept = torch.rand(read.shape[:2], device=read.device) >= self._dropout / 2
            read = torch.nn.functional.dropout(read * kept[..., None], self._dropout)
        return read.to(embedded.dtype)
