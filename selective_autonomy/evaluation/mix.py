"""The mixing experiment by replay: an early policy proposes on later sessions, operators' corrections train the next.

The early policy learns from the first part of the train split (`few` logs). It proposes on the last part (`later`);
where the operator did something else is a correction. Policies trained on logs, on logs with corrections, and by
preference optimisation are then measured on the held-out sessions: on all steps (the log set), and on the steps that
the early policy gets wrong there (the rejected-hard set).
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from selective_autonomy.evaluation.intervals import Figure, share_interval
from selective_autonomy.evaluation.mix_sessions import MixSessions, first_share
from selective_autonomy.evaluation.replay import replay
from selective_autonomy.frozen import Frozen
from selective_autonomy.params import MixParams
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.preferences import optimise_preferences
from selective_autonomy.policy.causal_lm.training import train_causal_lm
from selective_autonomy.policy.corrections import Correction, corrected_steps, replayed_corrections
from selective_autonomy.policy.training import TrainingReport
from selective_autonomy.process.actions import ui_action_adapter
from selective_autonomy.process.comparison import Level, same_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps

LEVELS: tuple[Level, ...] = ("tool", "loose", "strict")
CORRECTIONS = "corrections.json"
EARLY, MANY = "few logs (the early policy)", "many logs"


@dataclass(frozen=True)
class MixRow:
    """One policy of the table.

    `corrections`: share of the later sessions, first ones first, whose corrections are mixed in. `whole`: all steps of
    those sessions instead, as if they were logs. `loss`: preference optimisation of the row `base` on corrections.
    `base` is also the row that this one's differences are taken to.
    """

    name: str
    base: str
    logs: Literal["few", "many"]
    corrections: float = 0.0
    whole: bool = False
    new_seed: bool = False
    loss: Literal["sigmoid", "apo_zero"] | None = None


ROWS = (
    MixRow(EARLY, EARLY, "few"),
    MixRow("few logs, another seed", EARLY, "few", new_seed=True),
    MixRow("few logs + half of the corrections", EARLY, "few", corrections=0.5),
    MixRow("few logs + all corrections", EARLY, "few", corrections=1.0),
    MixRow("few logs + the corrected sessions whole", EARLY, "few", corrections=1.0, whole=True),
    MixRow(MANY, MANY, "many"),
    MixRow("many logs + all corrections", MANY, "many", corrections=1.0),
    MixRow("many logs, then DPO", MANY, "many", loss="sigmoid"),
    MixRow("many logs, then APO", MANY, "many", loss="apo_zero"),
)


class MixFigures(Frozen):
    """What a row learned from and how it did; figures by level ("tool", "loose", "strict").

    `log_steps`, `corrections`: steps with loss, preference pairs for a preference row. `difference_*`: to the row
    `base`, step by step on the same held-out sessions, empty for that row itself. `seconds`: of training alone;
    `spent_seconds`: with all that the row needed. `tokens`: read in training.
    """

    name: str
    base: str
    log_steps: int
    corrections: int
    log: dict[str, Figure]
    rejected_hard: dict[str, Figure]
    difference_log: dict[str, Figure] = Field(default_factory=dict)
    difference_rejected_hard: dict[str, Figure] = Field(default_factory=dict)
    seconds: float
    spent_seconds: float
    tokens: int
    training_steps: int


class Mix:
    """Trains and measures the rows in a folder. A row that is done there is not done again; a killed one goes on.

    `code`: names the code that makes the rows; what other code or other parameters left in the folder is made anew.
    """

    def __init__(
        self, sessions: MixSessions, schema: ProcessSchema, params: MixParams, out: Path, *, code: str = ""
    ) -> None:
        self._sessions, self._schema, self._params, self._out, self._code = sessions, schema, params, out, code
        self._held_out = [step for session in sessions.held_out for step in steps(session)]
        self._corrections: list[Correction] | None = None

    def run(
        self, rows: Sequence[MixRow] = ROWS, *, say: Callable[[str], None] = lambda _: None, seed: int = 0
    ) -> list[MixFigures]:
        """The figures of the rows, the early policy's first. `seed`: of the bootstrap."""
        answers = {row.name: self._answers(row, say) for row in rows}
        hard_N = ~_right(answers[EARLY], "loose")
        return [self._figures(row, answers, hard_N, seed) for row in rows]

    def corrections(self, share: float = 1.0) -> list[Correction]:
        """The corrections of the first `share` of the later sessions."""
        if self._corrections is None:
            self._corrections = self._found_corrections()
        among = {session.session_id for session in first_share(self._sessions.later, share)}
        return [correction for correction in self._corrections if correction.session_id in among]

    def _found_corrections(self) -> list[Correction]:
        """Of all later sessions, replayed once and then kept beside the early policy."""
        kept = self._folder(EARLY) / CORRECTIONS
        later = self._sessions.later
        if kept.exists():
            by_step = {(step.session.session_id, step.position): step for s in later for step in steps(s)}
            rows = json.loads(kept.read_text(encoding="utf-8"))
            return [Correction(by_step[name, at], ui_action_adapter.validate_python(done)) for name, at, done in rows]
        early = CausalLMPolicy.load(self._folder(EARLY), cache_sessions=0)
        found = [correction for s in later for correction in replayed_corrections(s, early.replay(s))]
        rows = [[c.session_id, c.step.position, c.rejected.model_dump(mode="json")] for c in found]
        partial = kept.with_suffix(".partial")
        partial.write_text(json.dumps(rows), encoding="utf-8")
        partial.replace(kept)
        return found

    def _answers(self, row: MixRow, say: Callable[[str], None]) -> dict[str, Any]:
        folder = self._folder(row.name)
        done = folder / "answers.json"
        made_by = self._made_by(row)
        if not done.exists() or json.loads(done.read_text(encoding="utf-8"))["made_by"] != made_by:
            done.unlink(missing_ok=True)
            (folder / CORRECTIONS).unlink(missing_ok=True)
            started = time.perf_counter()
            report, log_steps, corrections = self._train(row, folder)
            replayed = replay(CausalLMPolicy.load(folder, cache_sessions=0), self._sessions.held_out)
            right = {
                level: [int(same_action(r.proposal.action, r.step.action, level)) for r in replayed] for level in LEVELS
            }
            facts = {"log_steps": log_steps, "corrections": corrections, "seconds": report.seconds}
            facts |= {"tokens": report.tokens, "training_steps": report.steps}
            facts["spent_seconds"] = time.perf_counter() - started
            partial = done.with_suffix(".partial")
            partial.write_text(json.dumps({**facts, "made_by": made_by, "right": right}), encoding="utf-8")
            partial.replace(done)
            shares = ", ".join(f"{level} {np.mean(right[level]):.3f}" for level in LEVELS)
            say(f"{row.name}: {shares} in {facts['spent_seconds']:.0f} s")
        answers: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return answers

    def _train(self, row: MixRow, folder: Path) -> tuple[TrainingReport, int, int]:
        """Train a row's policy; how many steps of logs and how many corrections it learned from."""
        logs = self._sessions.few if row.logs == "few" else self._sessions.many
        if row.loss is not None:
            preferences = self._params.preferences.model_copy(update={"loss": row.loss})
            report = optimise_preferences(
                self._folder(row.base), self.corrections(self._params.preference_share), preferences, folder
            )
            return report, _count(logs), report.examples
        params = self._params.policy
        if row.new_seed:
            params = params.model_copy(update={"seed": params.seed + 1})
        corrections = self.corrections(row.corrections) if row.corrections else []
        later = first_share(self._sessions.later, row.corrections)
        choice = None
        if not row.whole:
            nothing: dict[str, frozenset[int]] = {session.session_id: frozenset() for session in later}
            choice = nothing | corrected_steps(corrections)
        report = train_causal_lm([*logs, *later], self._schema, params, folder, choice=choice)
        if row.whole:
            return report, _count(logs) + _count(later), 0
        return report, _count(logs), len(corrections)

    def _figures(self, row: MixRow, answers: dict[str, Any], hard_N: NDArray[np.bool_], seed: int) -> MixFigures:
        mine, base = answers[row.name], answers[row.base]
        session_of_N = [step.session.session_id for step in self._held_out]
        figures: dict[str, dict[str, Figure]] = defaultdict(dict)
        for level in LEVELS:
            right_N = _right(mine, level).astype(np.float64)
            difference_N = right_N - _right(base, level)
            for name, of_N in (("log", np.ones_like(hard_N)), ("rejected_hard", hard_N)):
                figures[name][level] = share_interval(right_N * of_N, session_of_N, of_N=of_N, seed=seed)
                if row.base != row.name:
                    difference = share_interval(difference_N * of_N, session_of_N, of_N=of_N, seed=seed)
                    figures[f"difference_{name}"][level] = difference
        facts = {name: fact for name, fact in mine.items() if name not in ("right", "made_by")}
        return MixFigures(name=row.name, base=row.base, **figures, **facts)

    def _made_by(self, row: MixRow) -> dict[str, Any]:
        """All that a row depends on beside the corpus; how preferences are optimised matters to their rows alone."""
        params = self._params.model_dump(
            mode="json", exclude=set() if row.loss else {"preferences", "preference_share"}
        )
        return {"code": self._code, "row": asdict(row), "params": params}

    def _folder(self, name: str) -> Path:
        return self._out / "".join(c if c.isalnum() else "-" for c in name)


def _right(answers: dict[str, Any], level: Level) -> NDArray[np.bool_]:
    return np.array(answers["right"][level], dtype=bool)


def _count(sessions: Sequence[Session]) -> int:
    return sum(1 for session in sessions for _ in steps(session))
