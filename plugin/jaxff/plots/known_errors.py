"""Plots of how well a potential knows its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from jaxff.plots.figures import draw_calibration

if TYPE_CHECKING:
    from jaxff.evaluation import Evaluation

FEWEST = 20
"""Atoms in a bin: a 90 % quantile of fewer says nothing."""
MOST_BINS = 12


def bins_of(values: np.ndarray) -> list[np.ndarray]:
    """Indices of ``values`` from smallest to largest, in bins of equal size."""
    n = int(np.clip(len(values) // FEWEST, 1, MOST_BINS))
    return [part for part in np.array_split(np.argsort(values, kind="stable"), n) if len(part)]


def calibration(evaluation: Evaluation, asked: float) -> Figure:
    """Force errors against expected ones, atom by atom; and bin by bin the part of atoms that the expectation covers.

    Args:
        asked: the part that it was calibrated to cover.
    """
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_calibration(left, evaluation)
    found, expected = evaluation.force_error.of(None)
    bins = bins_of(expected)
    middle = [float(np.median(expected[part])) for part in bins]
    covered = np.array([np.mean(found[part] <= expected[part]) for part in bins])
    # Standard error of a part; atoms of one structure are alike, so that it is a lower bound.
    spread = np.sqrt(covered * (1 - covered) / [len(part) for part in bins])
    right.axhline(asked, color="0.4", linewidth=0.8, linestyle="--", label=f"asked for: {100 * asked:.0f} %")
    right.errorbar(middle, covered, spread, fmt="o-", markersize=4, linewidth=1, label="found")
    right.set_xscale("log")
    right.set_ylim(min(0.5, float(covered.min()) - 0.05), 1.03)
    right.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    right.set_xlabel("expected force error (eV/Å)")
    right.set_ylabel("atoms with a smaller error")
    right.set_title(f"reliability, {len(bins)} bins of equal size", fontsize="medium")
    right.legend(fontsize="small")
    return figure


def error_against_grade(found: np.ndarray, grade: np.ndarray) -> Figure:
    """Force errors of atoms (eV/Å) against their extrapolation grades, with the median and nine tenths of each bin."""
    figure = Figure(figsize=(5.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    floor = max(1e-3 * float(np.max(found, initial=1e-6)), 1e-6)
    x, y = np.maximum(grade, 1e-3), np.maximum(found, floor)
    axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, linewidths=0.1, xscale="log", yscale="log", cmap="Greys")
    bins = bins_of(grade)
    middle = [np.median(x[part]) for part in bins]
    axes.plot(middle, [np.quantile(y[part], 0.9) for part in bins], "o-", markersize=3, label="90 % of atoms below")
    axes.plot(middle, [np.median(y[part]) for part in bins], "o-", markersize=3, label="median")
    axes.axvline(1.0, color="tab:red", linewidth=0.8, linestyle="--", label="edge of the training data")
    axes.set_xlabel("extrapolation grade")
    axes.set_ylabel("force error (eV/Å)")
    axes.legend(fontsize="small")
    return figure
