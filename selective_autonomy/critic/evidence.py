"""What speaks for and against a proposal: numbers from the policy's own distribution, from a second view, and
from the situation. A monotone recalibration cannot improve a ranking; new evidence can."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.critic.operator_habits import NAMES as HABIT_NAMES
from selective_autonomy.critic.operator_habits import OperatorHabits
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.baselines.ngram import HeadNgram, Trigger, situation_of
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import ACTION_TYPES, head_type
from selective_autonomy.process.actions import head as head_of
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, ScreenUpdate, Session

NAMES: tuple[str, ...] = (
    # the policy's distribution over legal heads
    "p_head",
    "log_p_head",
    "margin",
    "p_second",
    "p_third",
    "entropy",
    "entropy_share",  # of the entropy of a uniform choice among the legal heads
    "legal_heads",
    # how the arguments came about; 1 where there is no argument, for nothing can be wrong with it
    "log_prob",
    "log_p_arguments",
    "arguments",
    "least_argument_p",
    "mean_argument_p",
    "copied_share",
    # what is proposed
    "action_type",
    "head",
    "critical",
    # the n-gram's view
    "ngram_p",
    "ngram_log_p",
    "ngram_rank",
    "ngram_agrees",
    "ngram_top",
    "ngram_entropy",
    "ngram_p_second",
    # support in train
    "log_head_count",
    "log_after_count",
    "log_procedures_count",
    "unseen_words",  # share of the last message's words that train never had
    # the situation
    "steps_done",
    "messages",
    "procedures",
    "trigger",
    "last_action_type",
    "head_done_before",
    "head_done_last",
    "last_message_words",
    "last_message_asks",
    "last_result_values",  # -1: no result yet
    # who is asked
    *HABIT_NAMES,
)
CATEGORIES: tuple[str, ...] = ("action_type", "head", "trigger", "last_action_type")  # codes, not amounts

_TRIGGERS: tuple[Trigger, ...] = ("start", "customer", "screen", "operator")
_WORD = re.compile(r"\w+")
_VOCABULARY = 50_000  # most frequent words of train that count as seen
_LEAST_P = 1e-9  # log of a smaller probability says nothing more
_VERSION = 2
_FILE, _HEADS_FILE = "evidence.json", "evidence_heads.json"


class Evidence:
    """Turns (log before the step, proposal) into a row of numbers. Fit on train only."""

    names = NAMES

    def __init__(
        self, ngram: HeadNgram, habits: OperatorHabits, words: frozenset[str], critical: frozenset[str]
    ) -> None:
        """`words`: those of train's customer messages. `critical`: the action types that are gated."""
        self._ngram, self._habits, self._words, self._critical = ngram, habits, words, critical

    @classmethod
    def fit(cls, train: Sequence[Session], schema: ProcessSchema) -> Evidence:
        """Learn what train supports: heads in their contexts, and words. Sees: train only.

        Raises:
            ModelError: train holds no operator action.
        """
        words: Counter[str] = Counter()
        for session in train:
            for event in session.events:
                if isinstance(event, CustomerMessage):
                    words.update(_WORD.findall(event.text.casefold()))
        return cls(
            HeadNgram.fit(train),
            OperatorHabits.fit(train),
            frozenset(word for word, _ in words.most_common(_VOCABULARY)),
            frozenset(kind for kind in ACTION_TYPES if schema.tier(kind).tier == "critical"),
        )

    def featurise(self, befores: Sequence[Session], proposals: Sequence[Proposal]) -> NDArray[np.float64]:
        """`x_NF`: one finite row for each pair, columns as in `names`. Empty in, shape (0, F) out.

        Raises:
            ModelError: the two differ in length.
        """
        if len(befores) != len(proposals):
            raise ModelError(f"got {len(befores)} logs and {len(proposals)} proposals; give one log a proposal")
        x_NF = np.empty((len(befores), len(NAMES)))
        for n, (before, proposal) in enumerate(zip(befores, proposals, strict=True)):
            x_NF[n] = self._row(before, proposal)
        return x_NF

    def _row(self, before: Session, proposal: Proposal) -> list[float]:
        head = head_of(proposal.action)
        situation = situation_of(before)
        messages = [event.text for event in before.events if isinstance(event, CustomerMessage)]
        last_message = messages[-1] if messages else ""
        last_words = _WORD.findall(last_message.casefold())
        results = (event for event in reversed(before.events) if isinstance(event, ScreenUpdate))
        last_result = next(results, None)
        heads_done = situation.heads
        p_head = proposal.p_head
        others = [a.p for a in proposal.alternatives[1:3]] + [0.0, 0.0]
        log_p_head = math.log(max(p_head, _LEAST_P))
        argument_p = [a.p for a in proposal.arguments]
        view_H = self._ngram.distribution(situation)
        index = self._ngram.index(head)
        ngram_p = float(view_H[index]) if index is not None else 0.0
        second = self._ngram.index(proposal.alternatives[1].head) if len(proposal.alternatives) > 1 else None
        top = float(view_H.max())
        unseen = sum(word not in self._words for word in last_words)
        return [
            p_head,
            log_p_head,
            p_head - others[0],
            others[0],
            others[1],
            proposal.entropy,
            proposal.entropy / math.log(proposal.legal_count) if proposal.legal_count > 1 else 0.0,
            proposal.legal_count,
            proposal.log_prob,
            # Without arguments this is nothing but what rounding leaves, whose sign a tree would split on.
            proposal.log_prob - log_p_head if argument_p else 0.0,
            len(argument_p),
            min(argument_p, default=1.0),
            sum(argument_p) / len(argument_p) if argument_p else 1.0,
            sum(a.copied for a in proposal.arguments) / len(argument_p) if argument_p else 1.0,
            ACTION_TYPES.index(proposal.action.type),
            -1 if index is None else index,
            proposal.action.type in self._critical,
            ngram_p,
            math.log(max(ngram_p, _LEAST_P)),
            float((view_H > ngram_p).sum()),
            ngram_p >= top,
            top,
            -float((view_H * np.log(view_H)).sum()),
            float(view_H[second]) if second is not None else 0.0,
            math.log1p(self._ngram.count(head)),
            math.log1p(self._ngram.count_after(situation, head)),
            math.log1p(self._ngram.count_procedures(situation.procedures)),
            unseen / len(last_words) if last_words else 0.0,
            len(heads_done),
            len(messages),
            len(situation.procedures),
            _TRIGGERS.index(situation.trigger),
            ACTION_TYPES.index(head_type(heads_done[-1])) if heads_done else -1,
            heads_done.count(head),
            bool(heads_done) and heads_done[-1] == head,
            len(last_words),
            "?" in last_message,
            -1 if last_result is None else len(last_result.values),
            *self._habits.row(before.operator_id, situation, [a.head for a in proposal.alternatives]),
        ]

    def save(self, out: Path) -> None:
        """Write `evidence.json` and `evidence_heads.json` into the directory `out`."""
        out.mkdir(parents=True, exist_ok=True)
        self._ngram.save(out / _HEADS_FILE)
        self._habits.save(out)
        data = {
            "version": _VERSION,
            "names": NAMES,
            "words": sorted(self._words),
            "critical": sorted(self._critical),
        }
        (out / _FILE).write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged, or its columns are not those of this version.
        """
        try:
            data = json.loads((path / _FILE).read_text(encoding="utf-8"))
            if data["version"] != _VERSION or tuple(data["names"]) != NAMES:
                raise ModelError(f"{path / _FILE} has other columns than this version; fit the critic again")
            words, critical = frozenset(data["words"]), frozenset(data["critical"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise ModelError(f"{path / _FILE} is no evidence file: {err}; fit the critic again") from err
        return cls(HeadNgram.load(path / _HEADS_FILE), OperatorHabits.load(path), words, critical)
