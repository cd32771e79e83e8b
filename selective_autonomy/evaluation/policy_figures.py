"""Figures of a policy's accuracy as PNG bytes: by part, against the number of sessions, beside other policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from selective_autonomy.errors import SplitError
from selective_autonomy.evaluation.accuracy import LevelFigures
from selective_autonomy.evaluation.curves import LearningCurve
from selective_autonomy.evaluation.figures import BLUE, GREY, RED, canvas, png
from selective_autonomy.evaluation.intervals import Figure
from selective_autonomy.evaluation.policy_report import PolicyReport

_COLOURS = (BLUE, RED, GREY, "#2e7d32", "#8e5aa8", "#c77700", "#00838f", "#5d4037")
_PARTS_SHOWN = 24


def parts_png(groups: Mapping[str, LevelFigures], *, title: str) -> bytes:
    """Tool and strict accuracy of each part of the steps with 95 % intervals; the 24 largest parts.

    Raises:
        SplitError: there are no parts.
    """
    shown = dict(list(groups.items())[:_PARTS_SHOWN])
    names = [f"{name} ({figures.tool.n})" for name, figures in shown.items()]
    series = {
        "tool": [figures.tool for figures in shown.values()],
        "strict": [figures.strict for figures in shown.values()],
    }
    return _points_png(names, series, title=title)


def comparison_png(reports: Sequence[PolicyReport]) -> bytes:
    """Several policies on the same sessions: tool, loose, strict and form_exact with 95 % intervals.

    Raises:
        SplitError: there are no reports.
    """
    names = ("tool", "loose", "strict", "form_exact")
    series = {report.policy: [report.figures.get(name) for name in names] for report in reports}
    title = f"{reports[0].process_id}, hold-out {reports[0].holdout}" if reports else ""
    return _points_png(names, series, title=title)


def learning_curve_png(curve: LearningCurve) -> bytes:
    """Tool accuracy on the procedure's own steps against its own train sessions, a line a policy and variant.

    Intervals are bands. The axis is linear up to 25 sessions and logarithmic from there, so that 0 has a place on it.
    Points of sessions without a step of the procedure are left out.
    """
    drawing, axes = canvas()
    policies = sorted({point.policy for point in curve.points})
    for policy, others in sorted({(point.policy, point.others) for point in curve.points}):
        of_line = [p for p in curve.points if (p.policy, p.others) == (policy, others)]
        got = {p.own: p.own_steps.tool for p in sorted(of_line, key=lambda p: p.own) if p.own_steps is not None}
        colour = _COLOURS[policies.index(policy) % len(_COLOURS)]
        label = f"{policy}, beside {others} others" if others else f"{policy}, alone"
        style = "--" if others else "-"
        axes.plot(list(got), [g.value for g in got.values()], color=colour, ls=style, marker="o", ms=4, label=label)
        low, high = [g.low for g in got.values()], [g.high for g in got.values()]
        axes.fill_between(list(got), low, high, color=colour, alpha=0.12, lw=0)
    sizes = sorted({point.own for point in curve.points})
    axes.set_xscale("symlog", linthresh=25)
    axes.set_xticks(sizes, [str(size) for size in sizes], fontsize=7)
    axes.minorticks_off()
    axes.set(
        xlabel=f"train sessions with {curve.procedure}",
        ylabel="tool accuracy on its own steps",
        ylim=(0, 1),
        title=f"{curve.procedure} of {curve.process_id}: {curve.sessions} test sessions",
    )
    axes.legend(frameon=False, fontsize=8)
    return png(drawing)


def _points_png(names: Sequence[str], series: Mapping[str, Sequence[Figure | None]], *, title: str) -> bytes:
    """One row a name, one dot a series in it."""
    if not names or not series:
        raise SplitError("nothing to draw; expected at least one part and one policy")
    drawing, axes = canvas(height=max(4.2, 0.26 * len(names) * max(1, len(series) / 2) + 1.2))
    offset_S = np.linspace(-0.28, 0.28, len(series)) if len(series) > 1 else np.zeros(1)
    for i, (label, figures) in enumerate(series.items()):
        rows = [(y, one) for y, one in enumerate(figures) if one is not None]
        value = np.array([one.value for _, one in rows])
        low, high = (np.array([getattr(one, end) for _, one in rows]) for end in ("low", "high"))
        axes.errorbar(
            value,
            np.array([y for y, _ in rows]) + offset_S[i],
            # A bootstrap interval of a few sessions may lie beside its value by rounding.
            xerr=[np.maximum(value - low, 0), np.maximum(high - value, 0)],
            fmt="o",
            ms=4,
            lw=1.2,
            capsize=2,
            color=_COLOURS[i % len(_COLOURS)],
            label=label,
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="share right", xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), title=title)
    drawing.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return png(drawing)
