"""The processes that train one policy together: each reads its share of every batch, all take the same step.

A run belongs to a `Team`, given as an argument; whoever starts the processes (torchrun) makes it. The whole batch, the
plan and the weights are those of one process, so a team of any size ends at the same policy up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch

from selective_autonomy.errors import ModelError

Item = TypeVar("Item")


class Team(Protocol):
    """`rank`: this process, 0-based, of `size`. Every method is called by all of them, in the same order."""

    rank: int
    size: int

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the team; the same bits everywhere."""
        ...

    def check_same(self, what: str, value: str) -> None:
        """Raise unless the whole team has this value.

        Raises:
            ModelError: a process has another one.
        """
        ...

    def wait(self) -> None:
        """Return once all have come this far."""
        ...


class Alone:
    """A team of one: the ordinary run."""

    rank, size = 0, 1

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """The sum of one is itself."""

    def check_same(self, what: str, value: str) -> None:
        """One process agrees with itself."""

    def wait(self) -> None:
        """Nobody else to wait for."""


class ProcessGroup:
    """A team over an initialised `torch.distributed` group: gloo between CPUs, nccl between GPUs."""

    def __init__(self, group: torch.distributed.ProcessGroup | None = None) -> None:
        self._group = group
        self.rank, self.size = torch.distributed.get_rank(group), torch.distributed.get_world_size(group)

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        pending = [torch.distributed.all_reduce(tensor, group=self._group, async_op=True) for tensor in tensors]
        for work in pending:
            work.wait()

    def check_same(self, what: str, value: str) -> None:
        everyones: list[str] = [""] * self.size
        torch.distributed.all_gather_object(everyones, value, group=self._group)
        if len(set(everyones)) > 1:
            raise ModelError(
                f"the {self.size} training processes have different {what}: got {everyones}, expected the same on all; "
                "give each of them the same data, parameters, package versions, and an output folder that all can read"
            )

    def wait(self) -> None:
        torch.distributed.barrier(group=self._group)


def shares(items: Sequence[Item], size: int) -> list[list[Item]]:
    """A batch dealt out in turn, so that examples in order of length come out even. A share may be empty."""
    return [list(items[rank::size]) for rank in range(size)]
