"""A policy measured on one set of sessions, as one value: figures, their parts, cost, and the tables people read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from selective_autonomy.evaluation.accuracy import LevelFigures, by_field, by_group, evaluate_policy
from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.evaluation.outcomes import action_type, operator, procedure_of, trigger
from selective_autonomy.evaluation.replay import ReplayCost, ReplayedStep
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.schema import ProcessSchema

# The rows of a comparison; the order-tolerant figure stands beside the plain one and never without it.
COMPARED = (
    *("tool", "order_tolerant_tool", "top3", "loose", "strict", "order_tolerant_strict"),
    *("form_exact", "field", "session_tool", "session_strict"),
)
_LEAST_STEPS = 50  # of an operator, for a spread that is about operators and not about chance
_FIELDS_SHOWN = 15


class PolicyReport(Frozen):
    """Everything that was measured of a policy on one set of sessions it was not trained on.

    Args:
        policy, kind: its name in params.yaml and its kind.
        holdout: what kept the measured sessions apart, see `hold_out`.
        figures: as `evaluate_policy` gives them. by_...: the levels on parts of the steps, largest part first;
            `by_trigger`: after a customer's new text, after a form's result, ...
        of_unseen: the levels on the steps done for procedures that no train session had open; None: there are none.
            Sessions of such a procedure often have known ones open beside it, whose steps are not as hard.
        fields: "form.field" -> share right, given the right form.
        train_sessions, train_seconds: what the policy was trained on, and for how long; None: not known.
    """

    process_id: str
    policy: str
    kind: str
    holdout: str
    sessions: int
    steps: int
    figures: dict[str, Figure]
    by_action: dict[str, LevelFigures]
    by_procedure: dict[str, LevelFigures]
    by_operator: dict[str, LevelFigures]
    by_trigger: dict[str, LevelFigures]
    of_unseen: LevelFigures | None = None
    fields: dict[str, Figure]
    cost: ReplayCost
    train_sessions: int | None = None
    train_seconds: float | None = None

    @property
    def title(self) -> str:
        apart = {
            "none": "test split",
            "operators": "unseen operators",
            "processes": "unseen processes",
            "published": "published split",
        }
        return f"{self.policy} on {self.process_id}, {apart.get(self.holdout, self.holdout)}"

    def markdown(self) -> str:
        """GitHub tables: all figures, the parts, operators' spread, and the fields that cost most."""
        lines = [f"**{self.title}**: {self.sessions} sessions, {self.steps} steps{self._cost()}", ""]
        lines += ["| figure, % | value | 95 % interval | n |", "|---|---|---|---|"]
        lines += [f"| {name} | {_row(figure)} |" for name, figure in self.figures.items()]
        if self.of_unseen is not None:
            lines += ["", "| steps of unseen procedures only | steps | tool, % | 95 % interval | loose | strict |"]
            lines += ["|---|---|---|---|---|---|", f"| all | {_levels(self.of_unseen)} |"]
        for name, groups in (
            ("action type", self.by_action), ("procedure", self.by_procedure), ("answer to", self.by_trigger)
        ):  # fmt: skip
            lines += ["", f"| {name} | steps | tool, % | 95 % interval | loose | strict |", "|---|---|---|---|---|---|"]
            lines += [f"| {group} | {_levels(figures)} |" for group, figures in groups.items()]
        return "\n".join([*lines, *self._operators(), *self._fields()]) + "\n"

    def _cost(self) -> str:
        said = []
        if self.cost.seconds_a_step is not None:
            said.append(f"{1000 * self.cost.seconds_a_step:.1f} ms a step")
        if self.cost.tokens_a_step is not None:
            said.append(f"{self.cost.tokens_a_step:.0f} tokens a step")
        if self.train_sessions is not None:
            took = "" if self.train_seconds is None else f" in {self.train_seconds:.0f} s"
            said.append(f"trained on {self.train_sessions} sessions{took}")
        return "; " + ", ".join(said) if said else ""

    def _operators(self) -> list[str]:
        tool = sorted(g.tool.value for g in self.by_operator.values() if g.tool.n >= _LEAST_STEPS)
        if len(tool) < 3:
            return []
        low, middle, high = (100 * float(np.quantile(tool, q)) for q in (0.1, 0.5, 0.9))
        return [
            "",
            f"Operators ({len(tool)} of {len(self.by_operator)} with at least {_LEAST_STEPS} steps), tool in %: "
            f"10th percentile {low:.1f}, median {middle:.1f}, 90th {high:.1f}.",
        ]

    def _fields(self) -> list[str]:
        if not self.fields:
            return []
        costly = sorted(self.fields.items(), key=lambda item: (-item[1].n * (1 - item[1].value), item[0]))
        lines = ["", "| field (most errors first) | right, % | 95 % interval | n |", "|---|---|---|---|"]
        return lines + [f"| {name} | {_row(figure)} |" for name, figure in costly[:_FIELDS_SHOWN]]


def report_policy(
    replayed: Sequence[ReplayedStep],
    schema: ProcessSchema,
    *,
    policy: str,
    kind: str,
    holdout: str = "none",
    unseen: Collection[str] = (),
    seed: int,
    cost: ReplayCost | None = None,
    train_sessions: int | None = None,
    train_seconds: float | None = None,
) -> PolicyReport:
    """Measure replayed steps in every way at once.

    Args:
        unseen: procedures that no train session had open.
        cost: where the steps do not carry their own (read back from a file).
        seed: of the session bootstrap.

    Raises:
        SplitError: there are no steps.
    """
    apart = by_group(replayed, lambda r: str(procedure_of(r, schema) in unseen), seed=seed)
    return PolicyReport(
        process_id=schema.id,
        policy=policy,
        kind=kind,
        holdout=holdout,
        sessions=len({r.session_id for r in replayed}),
        steps=len(replayed),
        figures=evaluate_policy(replayed, seed=seed),
        by_action=by_group(replayed, action_type, seed=seed),
        by_procedure=by_group(replayed, lambda r: procedure_of(r, schema), seed=seed),
        by_operator=by_group(replayed, operator, seed=seed),
        by_trigger=by_group(replayed, trigger, seed=seed),
        of_unseen=apart.get("True"),
        fields=by_field(replayed, seed=seed),
        cost=cost or ReplayCost.of(replayed),
        train_sessions=train_sessions,
        train_seconds=train_seconds,
    )


def comparison_markdown(reports: Sequence[PolicyReport]) -> str:
    """One table of several policies on the same sessions: a column a policy, values in % with intervals."""
    lines = ["| % | " + " | ".join(r.policy for r in reports) + " |", "|---" * (len(reports) + 1) + "|"]
    for name in COMPARED:
        cells = [_short(r.figures.get(name)) for r in reports]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    costs: Mapping[str, list[float | None]] = {
        "ms a step": [None if r.cost.seconds_a_step is None else 1000 * r.cost.seconds_a_step for r in reports],
        "tokens a step": [r.cost.tokens_a_step for r in reports],
        "training, s": [r.train_seconds for r in reports],
    }
    for name, values in costs.items():
        lines.append(f"| {name} | " + " | ".join("–" if v is None else f"{v:.1f}" for v in values) + " |")
    return "\n".join(lines) + "\n"


def _row(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} | {100 * figure.low:.1f} – {100 * figure.high:.1f} | {figure.n}"


def _levels(figures: LevelFigures) -> str:
    tool = figures.tool
    interval = f"{100 * tool.low:.1f} – {100 * tool.high:.1f}"
    return (
        f"{tool.n} | {100 * tool.value:.1f} | {interval} | {100 * figures.loose.value:.1f} | "
        f"{100 * figures.strict.value:.1f}"
    )


def _short(figure: Figure | None) -> str:
    return "–" if figure is None else f"{100 * figure.value:.1f} ({100 * figure.low:.1f} – {100 * figure.high:.1f})"
