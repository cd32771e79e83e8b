"""Figures as PNG bytes, for MLflow, Dagster and the docs. Drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from selective_autonomy.evaluation.metrics import risk_coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from selective_autonomy.evaluation.intervals import Figure

BLUE, GREY, RED = "#1f5fa8", "#8a8a8a", "#b3261e"
_DOTS_PER_INCH = 130


def risk_coverage_png(
    curves: dict[str, tuple[ArrayLike, ArrayLike]], *, alpha: float | None = None, coverage: float | None = None
) -> bytes:
    """Error share among executed steps against the share executed.

    Args:
        curves: name -> (scores_N, right_N); the first is drawn strongest.
        alpha: the promised risk, a horizontal line. coverage: the certified coverage, a vertical line.
    """
    drawing, axes = canvas()
    for i, (name, (scores_N, right_N)) in enumerate(curves.items()):
        coverage_K, errors_K = risk_coverage(scores_N, right_N)
        colour, width = (BLUE, 2.0) if i == 0 else (GREY, 1.4)
        axes.plot(coverage_K, errors_K / coverage_K, label=name, color=colour, lw=width, zorder=3 - (i > 0))
    if alpha is not None:
        axes.axhline(alpha, color=RED, lw=1, ls="--", label=f"alpha {alpha:g}")
    if coverage is not None:
        axes.axvline(coverage, color=RED, lw=1, ls=":", label=f"certified coverage {coverage:.2f}")
    axes.set(xlabel="step coverage", ylabel="selective risk", xlim=(0, 1), ylim=(0, None), title="Risk and coverage")
    axes.legend(frameon=False)
    return png(drawing)


def reliability_png(p_N: ArrayLike, right_N: ArrayLike, *, bins: int = 10) -> bytes:
    """Share accepted against p_accept in bins of equal count, with the number of steps behind each point."""
    p, right = np.asarray(p_N, dtype=np.float64), np.asarray(right_N, dtype=bool)
    drawing, axes = canvas()
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="calibrated")
    groups = [g for g in np.array_split(np.argsort(p, kind="stable"), bins) if g.size]
    mean_B = np.array([p[g].mean() for g in groups])
    share_B = np.array([right[g].mean() for g in groups])
    error_B = 1.96 * np.sqrt(share_B * (1 - share_B) / np.array([g.size for g in groups]))
    axes.errorbar(
        mean_B,
        share_B,
        yerr=error_B,
        color=BLUE,
        marker="o",
        ms=4,
        lw=1.6,
        capsize=2,
        label=f"critic ({groups[0].size} steps a point)",
    )
    axes.set(xlabel="p_accept", ylabel="share accepted", xlim=(0, 1), ylim=(0, 1), title="Reliability of p_accept")
    axes.legend(frameon=False)
    return png(drawing)


def loss_curve_png(losses: Sequence[float], *, members: int = 1) -> bytes:
    """Training loss against optimiser steps: each step, and the mean of the fiftieth of the run around it.

    Args:
        losses: one an optimiser step (nats a token, or a step where heads are scored), members one after the other.
        members: of equal length; each is drawn from its own first step on.
    """
    drawing, axes = canvas()
    runs = np.array_split(np.asarray(losses, dtype=np.float64), members)
    width = max(1, len(runs[0]) // 50)
    for i, run in enumerate(runs):
        colour = (BLUE, RED, GREY)[i % 3]
        steps = np.arange(1, len(run) + 1)
        axes.plot(steps, run, color=colour, lw=0.5, alpha=0.25)
        mean = np.convolve(run, np.ones(width), "same") / np.convolve(np.ones(len(run)), np.ones(width), "same")
        axes.plot(steps, mean, color=colour, lw=1.6, label=f"member {i + 1}" if members > 1 else "train")
    axes.set(xlabel="optimiser step", ylabel="loss, nats", title="Training loss")
    axes.legend(frameon=False)
    return png(drawing)


def trade_off_png(points: Mapping[str, tuple[Figure, Figure]], *, x: str, y: str, title: str) -> bytes:
    """Named points with their 95 % intervals both ways, in %: what a gain in one figure costs in the other."""
    drawing, axes = canvas()
    for i, (name, (across, up)) in enumerate(points.items()):
        axes.errorbar(
            100 * across.value,
            100 * up.value,
            xerr=[[100 * (across.value - across.low)], [100 * (across.high - across.value)]],
            yerr=[[100 * (up.value - up.low)], [100 * (up.high - up.value)]],
            marker="osD^vP*X<>"[i % 10],
            ms=6,
            lw=0,
            elinewidth=0.7,
            capsize=2,
            color=(BLUE, RED, GREY)[i % 3],
            label=name,
        )
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.legend(frameon=False, fontsize=7)
    return png(drawing)


def rules_png(cells: Mapping[str, Mapping[str, Mapping[str, float]]], *, delta: float) -> bytes:
    """How much of the oracle's coverage each threshold rule keeps, and how often it breaks its promise, cell by cell.

    Args:
        cells: "alpha,n" -> rule -> {"coverage", "violation_rate"}; the rule "oracle" has the coverage to be had.
    """
    drawing, (left, right) = canvases(2)
    names = [name for name in next(iter(cells.values())) if name != "oracle"]
    alphas = [cell.split(",")[0] for cell in cells]
    gaps = np.cumsum([0, *(one != other for one, other in pairwise(alphas))])
    at_C = np.arange(len(cells)) + gaps
    for i, name in enumerate(names):
        colour, width = (BLUE, 2.2) if name == "ours" else (RED if name == "naive" else GREY, 1.0)
        kept_C = [cell[name]["coverage"] / cell["oracle"]["coverage"] for cell in cells.values()]
        broken_C = [cell[name]["violation_rate"] for cell in cells.values()]
        for axes, shown_C in ((left, kept_C), (right, broken_C)):
            # No line from one alpha to the next: there is nothing between them.
            breaks = np.flatnonzero(np.diff(at_C) > 1) + 1
            axes.plot(
                np.insert(at_C.astype(float), breaks, np.nan),
                np.insert(100 * np.array(shown_C), breaks, np.nan),
                color=colour,
                lw=width,
                marker="osD^vP*"[i % 7],
                ms=4,
                label=name.replace("_", " "),
            )
    right.axhline(100 * delta, color=RED, lw=1, ls="--", label=f"delta {100 * delta:g} %")
    left.set(ylabel="coverage, % of the oracle's", title="What is executed")
    right.set(ylabel="draws with a risk above alpha, %", title="How often the promise is broken")
    for axes in (left, right):
        axes.set_xticks(at_C, [cell.replace(",", "\n") for cell in cells], fontsize=6)
        axes.set_xlabel("alpha, labelled steps")
    right.legend(frameon=False, fontsize=7)
    return png(drawing)


def noise_png(
    desk: Mapping[str, Mapping[str, Mapping[str, Any]]], star: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> bytes:
    """Corruption by corruption: the risk that was promised, and what still runs by itself, against its rate.

    Args:
        desk, star: corruption -> rate -> {"alpha", rule -> {"promised_risk", "step_coverage", ...}}.
    """
    names = list(desk)
    drawing, first = canvas(height=9.6)
    drawing.set_size_inches(2.5 * len(names), 9.6)
    first.remove()
    rows = (
        ("desk: sessions lost, %", desk, "promised_risk"),
        ("desk: worked alone, %", desk, "session_coverage"),
        ("STAR: wrong steps, %", star, "promised_risk"),
        ("STAR: steps executed, %", star, "step_coverage"),
    )
    for r, (label, corpus, figure) in enumerate(rows):
        for c, name in enumerate(names):
            axes = drawing.add_subplot(len(rows), len(names), r * len(names) + c + 1)
            axes.grid(color="#e3e3e3", lw=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            cells = corpus[name]
            rates = [100 * float(rate) for rate in cells]
            for rule, colour, mark in (
                ("naive", RED, "s"),
                ("certificate", GREY, "D"),
                ("certificate_noise_model", BLUE, "o"),
            ):
                shown = [100 * cell[rule][figure] for cell in cells.values()]
                axes.plot(rates, shown, color=colour, marker=mark, ms=4, lw=1.6, label=rule.replace("_", " "))
            if figure == "promised_risk":
                axes.axhline(100 * next(iter(cells.values()))["alpha"], color=RED, lw=1, ls="--", label="alpha")
            axes.set_ylim(0, None)
            if r == 0:
                axes.set_title(name.replace("_", " "), fontsize=9)
            if c == 0:
                axes.set_ylabel(label, fontsize=8)
            if r == len(rows) - 1:
                axes.set_xlabel("rate, %", fontsize=8)
            axes.tick_params(labelsize=7)
            if r == 0 and c == 0:
                axes.legend(frameon=False, fontsize=6)
    return png(drawing)


def golive_png(
    recertified: Mapping[str, Mapping[str, Any]], forecasts: Mapping[str, Mapping[str, Any]], *, oracle: float
) -> bytes:
    """What runs by itself day by day after go-live, and the days that were foreseen against those that it took.

    Args:
        recertified: arm -> {"use", "coverage_by_day"}. forecasts: kind of stream -> {"points": [[days it took, days
            foreseen or None], ...]}, absent where none was certified. oracle: the coverage to be had.
    """
    drawing, (left, right) = canvases(2)
    blues = iter((BLUE, "#5b93cf", "#9cc2ea"))
    for name, arm in recertified.items():
        colour, style = (next(blues), "-") if arm["use"] == "weighted" else (RED, "--")
        coverage_D = 100 * np.array(arm["coverage_by_day"])
        left.plot(np.arange(1, coverage_D.size + 1), coverage_D, color=colour, ls=style, lw=1.6, label=name)
    left.axhline(100 * oracle, color=GREY, lw=1, ls=":", label="the most the promise allows")
    left.set(xlabel="days after go-live", ylabel="steps executed, %", ylim=(0, 100), title="Recertified every day")
    left.legend(frameon=False, fontsize=7)
    shown = {name: cell["points"] for name, cell in forecasts.items() if "points" in cell}
    for i, (name, points) in enumerate(shown.items()):
        came, foreseen = np.array([point for point in points if point[1] is not None]).reshape(-1, 2).T
        right.plot(came, foreseen, lw=0, marker="osD^vP*X"[i % 8], ms=4, color=(BLUE, RED, GREY)[i % 3], label=name)
    right.axline((1, 1), (10, 10), color=GREY, lw=1, ls="--")
    right.set(xlabel="days it took", ylabel="days foreseen", title="Forecasts of time-to-autonomy")
    right.set(xscale="log", yscale="log")
    right.legend(frameon=False, fontsize=6)
    return png(drawing)


def canvases(count: int, *, height: float = 4.2) -> tuple[Canvas, list[Axes]]:
    """As `canvas`, with axes side by side."""
    drawing, first = canvas(height=height)
    drawing.set_size_inches(5.2 * count, height)
    first.remove()
    found = [drawing.add_subplot(1, count, i + 1) for i in range(count)]
    for axes in found:
        axes.grid(color="#e3e3e3", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return drawing, found


def canvas(*, height: float = 4.2) -> tuple[Canvas, Axes]:
    """An empty figure in the house style, 6 by `height` inches, and its axes."""
    # Through the object interface: no global state, no display, safe beside other threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6, height), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    axes.grid(color="#e3e3e3", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def png(drawing: Canvas) -> bytes:
    """The same drawing gives the same bytes."""
    out = io.BytesIO()
    drawing.savefig(out, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return out.getvalue()
