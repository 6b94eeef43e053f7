"""Plots of how well a potential knows its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from jaxff.plots.figures import draw_calibration, error_floor, readable

if TYPE_CHECKING:
    from jaxff.evaluation import Evaluation

FEWEST = 20
"""Atoms in a bin: a 90 % quantile of fewer says nothing."""
MOST_BINS = 12
SMALLEST_GRADE = 1e-3
"""What is smaller is drawn there."""


def bins_of(values: np.ndarray) -> list[np.ndarray]:
    """Indices of ``values`` in bins of about equal size, the smallest first; what differs by rounding shares a bin."""
    values = np.round(np.log(np.maximum(values, 1e-9)), 3)
    n = int(np.clip(len(values) // FEWEST, 1, MOST_BINS))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="left")
    return [np.flatnonzero(place == bin) for bin in range(len(edges) + 1) if (place == bin).any()]


def known_errors(evaluation: Evaluation, asked: float) -> Figure:
    """Force errors against expected ones, atom by atom; bin by bin the part of atoms that the expectation covers; and
    errors against the extrapolation grade.

    Args:
        asked: the part that it was calibrated to cover.
    """
    figure = Figure(figsize=(12.3, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    draw_calibration(axes[0], evaluation)
    found, expected = evaluation.force_error.of(None)
    _reliability(axes[1], found, expected, asked)
    _against_grade(axes[2], found, np.concatenate(evaluation.grades))
    return figure


def _reliability(axes, found: np.ndarray, expected: np.ndarray, asked: float) -> None:
    bins = bins_of(expected)
    middle = [float(np.median(expected[part])) for part in bins]
    covered = np.array([np.mean(found[part] <= expected[part]) for part in bins])
    # Standard error of a part; atoms of one structure are alike, so that it is a lower bound.
    spread = np.sqrt(covered * (1 - covered) / [len(part) for part in bins])
    axes.axhline(asked, color="0.4", linewidth=0.8, linestyle="--", label=f"asked for: {100 * asked:.0f} %")
    axes.errorbar(middle, covered, spread, fmt="o-", markersize=4, linewidth=0.8, label="found")
    axes.set_xscale("log")
    axes.set_ylim(min(0.5, float(covered.min()) - 0.05), 1.03)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_xlabel("expected force error (eV/Å)")
    axes.set_ylabel("atoms with a smaller error")
    readable(axes.xaxis)
    axes.set_title("reliability", fontsize="medium")
    axes.legend(fontsize="small", loc="lower right")


def _against_grade(axes, found: np.ndarray, grade: np.ndarray) -> None:
    x, y = np.maximum(grade, SMALLEST_GRADE), np.maximum(found, error_floor(found))
    axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, linewidths=0.1, xscale="log", yscale="log", cmap="Greys")
    bins = bins_of(grade)
    middle = [float(np.median(x[part])) for part in bins]
    axes.plot(middle, [np.quantile(y[part], 0.9) for part in bins], "o-", markersize=3, label="90 % of atoms below")
    axes.plot(middle, [np.median(y[part]) for part in bins], "o-", markersize=3, label="median")
    axes.axvline(1.0, color="tab:red", linewidth=0.8, linestyle="--", label="edge of the training data")
    axes.set_xlabel("extrapolation grade")
    axes.set_ylabel("force error (eV/Å)")
    readable(axes.xaxis, axes.yaxis)
    axes.set_title("error against grade", fontsize="medium")
    axes.legend(fontsize="small", loc="lower right")
