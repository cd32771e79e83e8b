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

KeyValues = list[tuple[torch.Tensor, torch.Tensor]]  # per layer (1, heads, T, width)


@dataclass(frozen=True, slots=True)
class CachedPrefix:
    """The keys and values of a token prefix; `ids` (T,), as many as the tensors have positions."""

    ids: NDArray[np.int32]
    keys_values: KeyValues


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
        """Remove and return the longest stored prefix of `ids_T`, or None. The caller puts back what it grows into."""
        best: bytes | None = None
        for key, entry in self._entries.items():
            n = len(entry.ids)
            longer = best is None or n > len(self._entries[best].ids)
            if n <= len(ids_T) and longer and np.array_equal(entry.ids, ids_T[:n]):
                best = key
        return self._entries.pop(best) if best is not None else None

    def put(self, entry: CachedPrefix) -> None:
        """Store a prefix; the least recently used one goes when there are too many."""
        if self._size == 0:
            return
        self._entries[entry.ids.tobytes()] = entry
        self._entries.move_to_end(entry.ids.tobytes())
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer with room to grow in place: appending a token copies that token, not the whole prefix."""

    def __init__(self, prefixes: Sequence[tuple[torch.Tensor, torch.Tensor]], cuts: Sequence[int], room: int) -> None:
        super().__init__()
        first = prefixes[0][0]
        self._filled = max(cuts)
        shape = (len(prefixes), first.shape[1], self._filled + room, first.shape[3])
        self.keys, self.values = first.new_zeros(shape), first.new_zeros((*shape[:3], prefixes[0][1].shape[3]))
        for row, ((keys, values), cut) in enumerate(zip(prefixes, cuts, strict=True)):
            self.keys[row, :, :cut], self.values[row, :, :cut] = keys[0, :, :cut], values[0, :, :cut]
        self.dtype, self.device, self.is_initialized = first.dtype, first.device, True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        end = self._filled + key_states.shape[-2]
        self.keys[:, :, self._filled : end], self.values[:, :, self._filled : end] = key_states, value_states
        self._filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._filled


class Branches:
    """A batch of continuations, each from its own cut of its own prefix; one new token each at a time."""

    def __init__(self, model: Any, prefixes: Sequence[KeyValues], cuts: Sequence[int], room: int) -> None:
        self._model = model
        self._cache = DynamicCache()
        self._cache.layers = [
            _RoomyLayer([prefix[i] for prefix in prefixes], cuts, room) for i in range(len(prefixes[0]))
        ]
        device = prefixes[0][0][0].device
        self._next_B = torch.tensor(cuts, device=device)
        seen = torch.arange(max(cuts) + room, device=device)[None] < self._next_B[:, None]
        seen[:, max(cuts) :] = True
        self._seen_BT, self._length = seen.long(), max(cuts)

    def step(self, tokens: Sequence[int]) -> NDArray[np.float64]:
        """Append one token to every branch; the logits (B, V) of what follows it."""
        self._length += 1
        logits = self._model(
            input_ids=torch.tensor(tokens, device=self._next_B.device)[:, None],
            attention_mask=self._seen_BT[:, : self._length],
            position_ids=self._next_B[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        self._next_B = self._next_B + 1
        logits_BV: NDArray[np.float64] = logits.double().cpu().numpy()
        return logits_BV

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these branches only."""
        index = torch.tensor(rows, device=self._next_B.device)
        self._cache.batch_select_indices(index)
        self._next_B, self._seen_BT = self._next_B[index], self._seen_BT[index]
