"""One figure of a process's labels: how proposals are answered, how fast, and how reliably."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from selective_autonomy.evaluation.figures import BLUE, GREY, RED, canvases, png
from selective_autonomy.labels.reasons import ANSWERS
from selective_autonomy.labels.report import CREW, Answer, LabelQuality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From accept to no reason: what counts as right is cool, what counts as wrong warm.
_COLOURS = (BLUE, RED, "#8fb4dc", "#c77700", "#e3b25c", GREY)
_SHOWN = 30


def label_quality_png(quality: LabelQuality, answers: Sequence[Answer]) -> bytes:
    """Reasons, seconds to accept, and reliability, a row an operator; the 30 with most answers.

    Flagged operators are red. Seconds: the middle half and the median of accepts, on a logarithmic axis. Reliability:
    dots with 95 % intervals; an operator of whom nothing can be told has none.
    """
    names = sorted(
        (name for name in quality.reasons if name != CREW), key=lambda name: (-quality.reasons[name].n, name)
    )[:_SHOWN][::-1]
    drawing, (left, middle, right) = canvases(3, height=max(3.2, 1.4 + 0.22 * len(names)))
    _reasons(left, quality, names)
    _seconds(middle, quality, answers, names)
    _reliability(right, quality, names)
    for axes in (left, middle, right):
        axes.set_axisbelow(True)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_ylim(-0.7, max(len(names), 1) - 0.3)
        for label in axes.get_yticklabels():
            label.set_color(RED if label.get_text() in quality.flagged else "black")
    return png(drawing)


def _reasons(axes: Axes, quality: LabelQuality, names: Sequence[str]) -> None:
    start_W = np.zeros(len(names))
    for answer, colour in zip(ANSWERS, _COLOURS, strict=True):
        share_W = 100 * np.array([quality.reasons[name].shares[answer].value for name in names])
        axes.barh(range(len(names)), share_W, left=start_W, color=colour, height=0.7, label=answer.replace("_", " "))
        start_W = start_W + share_W
    axes.set(xlabel="share of proposals, %", xlim=(0, 100), title="How proposals are answered")
    axes.legend(frameon=False, fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _seconds(axes: Axes, quality: LabelQuality, answers: Sequence[Answer], names: Sequence[str]) -> None:
    from matplotlib.ticker import LogLocator

    for at, name in enumerate(names):
        times = [a.seconds for a in answers if a.operator_id == name and a.accepted and a.seconds]
        if times:
            low, mid, high = np.quantile(times, [0.25, 0.5, 0.75])
            colour = RED if name in quality.flagged else BLUE
            axes.plot([low, high], [at, at], color=colour, lw=2.5, solid_capstyle="butt")
            axes.plot([mid], [at], "o", color=colour, ms=5)
    axes.set(xscale="log", xlabel="seconds to accept: middle half, median", title="How fast proposals are accepted")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def _reliability(axes: Axes, quality: LabelQuality, names: Sequence[str]) -> None:
    of = {one.operator_id: one for one in quality.reliability}
    for label, colour, shift in (("sensitivity", BLUE, 0.15), ("false_alarm", RED, -0.15)):
        shown = [(at, getattr(of[name], label)) for at, name in enumerate(names) if name in of]
        told = [(at, figure) for at, figure in shown if np.isfinite(figure.value)]
        axes.errorbar(
            [100 * figure.value for _, figure in told],
            [at + shift for at, _ in told],
            xerr=[
                [100 * (figure.value - figure.low) for _, figure in told],
                [100 * (figure.high - figure.value) for _, figure in told],
            ],
            fmt="o" if label == "sensitivity" else "s",
            ms=4,
            color=colour,
            elinewidth=0.8,
            label=label.replace("_", " "),
        )
    axes.set(xlabel="says wrong, %", xlim=(-2, 102), title="Of truly wrong ones, of right ones")
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))
