"""Key/value caches: one per session while its log grows, and branches that leave it to write an action."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 256  # positions that a buffer gets beyond what it needs: a session's next few steps


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer with room to grow in place: appending a token copies that token, not the whole prefix.

    On a prompt of 1,000 tokens, copying is as dear as the forward pass of a new event through a small model.
    """

    def __init__(self) -> None:
        super().__init__()
        self._filled = 0

    @classmethod
    def branching(cls, prefixes: Sequence[RoomyLayer], cuts: Sequence[int]) -> RoomyLayer:
        """One layer: row i is a copy of the first `cuts[i]` positions of `prefixes[i]`; rows end at the longest."""
        layer = cls()
        layer._allocate(prefixes[0].keys, prefixes[0].values, len(prefixes), max(cuts) + _ROOM)
        for row, (prefix, cut) in enumerate(zip(prefixes, cuts, strict=True)):
            layer.keys[row, :, :cut], layer.values[row, :, :cut] = prefix.keys[0, :, :cut], prefix.values[0, :, :cut]
        layer._filled = max(cuts)
        return layer

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        start, end = self._filled, self._filled + key_states.shape[-2]
        if not self.is_initialized:
            self._allocate(key_states, value_states, len(key_states), end + _ROOM)
        elif end > self.keys.shape[-2]:
            keys, values = self.keys, self.values
            self._allocate(keys, values, len(keys), end + end // 2)
            self.keys[:, :, :start], self.values[:, :, :start] = keys[:, :, :start], values[:, :, :start]
        self.keys[:, :, start:end], self.values[:, :, start:end] = key_states, value_states
        self._filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._filled

    def rewind(self, length: int) -> None:
        """Forget all positions from `length` on; they are overwritten by what comes next."""
        self._filled = min(self._filled, length)

    def _allocate(self, keys: torch.Tensor, values: torch.Tensor, rows: int, positions: int) -> None:
        self.keys = keys.new_zeros((rows, keys.shape[1], positions, keys.shape[3]))
        self.values = values.new_zeros((rows, values.shape[1], positions, values.shape[3]))
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True


Layers = list[RoomyLayer]  # of one model; batch size 1 for a prefix


@dataclass(frozen=True, slots=True)
class CachedPrefix:
    """What a model has read: `ids` (T,), as many as the layers have positions.

    The first `log` of them are a session's log; what follows is the step that was proposed after it, and holds for
    as long as the log goes on in the same way.
    """

    ids: NDArray[np.int32]
    log: int
    layers: Layers


class PrefixCache:
    """The most recently used session prefixes, at most `size` of them.

    A prefix is found by its tokens, not by a session's name: a log that was changed or re-windowed can never
    meet keys and values of other tokens.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, CachedPrefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, ids_T: NDArray[np.int32]) -> CachedPrefix | None:
        """Remove the longest stored log that begins `ids_T`, or None; cut to what it shares with `ids_T`.

        The caller puts back what it grows into, and owns the layers until then.
        """
        best: bytes | None = None
        for key, entry in self._entries.items():
            longer = best is None or entry.log > self._entries[best].log
            if entry.log <= len(ids_T) and longer and np.array_equal(entry.ids[: entry.log], ids_T[: entry.log]):
                best = key
        if best is None:
            return None
        found = self._entries.pop(best)
        n = min(len(found.ids), len(ids_T))
        differs = np.flatnonzero(found.ids[:n] != ids_T[:n])
        shared = int(differs[0]) if len(differs) else n
        for layer in found.layers:
            layer.rewind(shared)
        return CachedPrefix(ids_T[:shared], found.log, found.layers)

    def peek(self, ids_T: NDArray[np.int32]) -> CachedPrefix | None:
        """The entry of exactly this log, or None. It stays, and its layers are not to be written into."""
        return self._entries.get(ids_T.tobytes())

    def put(self, entry: CachedPrefix) -> None:
        """Store a prefix; the least recently used one goes when there are too many."""
        if self._size == 0:
            return
        key = entry.ids[: entry.log].tobytes()
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)


class Branches:
    """A batch of continuations, each from its own cut of its own prefix, some new tokens each at a time.

    One branch alone is written into its prefix's own layers, where a session's next step finds it; several are written
    into a copy.
    """

    def __init__(self, model: Any, prefixes: Sequence[Layers], cuts: Sequence[int]) -> None:
        self._model, self._device = model, prefixes[0][0].device
        self._cache = DynamicCache()
        self._alone = len(prefixes) == 1
        if self._alone:
            self._cache.layers = prefixes[0]
            for layer in prefixes[0]:
                layer.rewind(cuts[0])
        else:
            self._cache.layers = [RoomyLayer.branching(rows, cuts) for rows in zip(*prefixes, strict=True)]
        self._next_B = torch.tensor(cuts, device=self._device)
        self._seen_BT = torch.arange(max(cuts), device=self._device)[None] < self._next_B[:, None]

    def step(self, tokens: Sequence[Sequence[int]], *, last: int = 1) -> NDArray[np.float32]:
        """Append each branch's tokens, at least one; the logits (B, last, V) after its `last` last ones.

        A branch with fewer tokens than `last` has rows of padding first, which mean nothing.
        """
        width = max(map(len, tokens))
        # Padded on the left, so that every branch's last token stands in the last column; nobody sees the padding.
        padded = torch.tensor([[*[0] * (width - len(row)), *row] for row in tokens], device=self._device)
        where = {}
        if not self._alone:  # alone there is no mask: attention stays on its fast path
            new_B = torch.tensor([len(row) for row in tokens], device=self._device)
            from_end = torch.arange(width, 0, -1, device=self._device)
            self._next_B = self._next_B + new_B
            self._seen_BT = torch.cat([self._seen_BT, from_end[None] <= new_B[:, None]], dim=1)
            positions = (self._next_B[:, None] - from_end[None]).clamp(min=0)
            where = {"attention_mask": self._seen_BT.long(), "position_ids": positions}
        logits_BLV: NDArray[np.float32] = (
            self._model(input_ids=padded, past_key_values=self._cache, use_cache=True, logits_to_keep=last, **where)
            .logits.float()
            .cpu()
            .numpy()
        )
        return logits_BLV

    def take_back(self, counts: Sequence[int]) -> None:
        """Forget each branch's last so many tokens: guesses that the model did not confirm."""
        if self._alone:
            for layer in self._cache.layers:
                layer.rewind(layer.get_seq_length() - counts[0])
            return
        gone_B = torch.tensor(counts, device=self._device)
        from_end = torch.arange(self._seen_BT.shape[1], 0, -1, device=self._device)
        self._seen_BT = self._seen_BT & (from_end[None] > gone_B[:, None])
        self._next_B = self._next_B - gone_B

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these branches only."""
        index = torch.tensor(rows, device=self._device)
        self._cache.batch_select_indices(index)
        self._next_B, self._seen_BT = self._next_B[index], self._seen_BT[index]
