"""Heads by counting alone: what operators did most in this kind of case, or what they did after the last heads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from selective_autonomy.errors import IllegalAction
from selective_autonomy.policy.baselines.ngram import ALL_CONTEXTS, HeadNgram, situation_of
from selective_autonomy.policy.protocol import RankedHeads
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

CountedKind = Literal["majority", "ngram"]
_CONTEXTS: dict[CountedKind, int] = {"majority": 2, "ngram": ALL_CONTEXTS}  # majority: nothing, then the procedures
_COUNTS = "heads.json"
_UNSEEN_HEAD = 1e-6  # probability, before normalising, of a legal head that train never did


class CountedHeads:
    """Implements `HeadModel`: the legal heads by the n-gram's probability.

    "majority" looks at the open procedures only and backs off to all sessions; "ngram" at all that the n-gram sees.
    """

    def __init__(self, schema: ProcessSchema, counts: HeadNgram, kind: CountedKind) -> None:
        self.schema, self.counts, self._contexts = schema, counts, _CONTEXTS[kind]

    def rank_next(self, sessions: Sequence[Session]) -> list[RankedHeads]:
        return [self._rank(session) for session in sessions]

    def rank_steps(self, session: Session) -> list[RankedHeads]:
        return [self._rank(step.before) for step in steps(session)]

    def _rank(self, session: Session) -> RankedHeads:
        legal = legal_heads(self.schema, derive_screen(session))
        if not legal:
            raise IllegalAction(f"session {session.session_id!r} allows no action: it is closed")
        p_H = self.counts.distribution(situation_of(session), contexts=self._contexts)
        index_A = [self.counts.index(name) for name in legal]
        p_A = np.array([0.0 if index is None else p_H[index] for index in index_A])
        return RankedHeads.of(legal, np.log(p_A + _UNSEEN_HEAD))

    def save(self, out: Path) -> None:
        """Write the counts into the folder `out`."""
        self.counts.save(out / _COUNTS)

    @classmethod
    def load(cls, path: Path, schema: ProcessSchema, kind: CountedKind) -> CountedHeads:
        """Read what `save` wrote into a folder.

        Raises:
            ModelError: the counts are missing, damaged or of another version.
        """
        return cls(schema, HeadNgram.load(path / _COUNTS), kind)
