"""Structures as points: similar ones are near each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from jaxff.plots.figures import OTHERS, group_colors, plain


def principal_components(
    features: Float[np.ndarray, "S F"], n: int = 2
) -> tuple[Float[np.ndarray, "S n"], Float[np.ndarray, " n"]]:
    """Coordinates of structures along the directions in which their features differ most, and the part of all
    differences that each direction holds. What there is no direction for is zero."""
    centred = np.asarray(features, float) - np.mean(features, axis=0, dtype=float)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    found = min(n, len(sizes))
    # The sign of a direction is free; the largest part of it is taken as positive, so that pages can be compared.
    signs = np.sign(right[np.arange(found), np.argmax(np.abs(right[:found]), axis=1)])
    places, parts = np.zeros((len(centred), n)), np.zeros(n)
    places[:, :found] = (left * sizes)[:, :found] * signs
    parts[:found] = sizes[:found] ** 2 / max(float(np.sum(sizes**2)), 1e-300)
    return places, parts


def structure_map(
    places: Float[np.ndarray, "S 2"],
    labels: tuple[str, str],
    groups: Sequence[str],
    errors: Float[np.ndarray, " S"],
    error_label: str,
) -> Figure:
    """The same points twice: coloured by group, and by error (NaN where a structure has none)."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    colors = group_colors(groups)
    for group, color in colors.items():
        chosen = [n for n, g in enumerate(groups) if g == group]
        label = plain(group) if group and color != OTHERS else None
        left.scatter(*places[chosen].T, s=22, color=color, alpha=0.8, linewidths=0, label=label)
    if any(group and color != OTHERS for group, color in colors.items()):
        left.legend(fontsize="small")
    known = np.isfinite(errors)
    right.scatter(*places[~known].T, s=14, color="0.85", linewidths=0)
    if known.any():
        # The worst on top.
        order = np.flatnonzero(known)[np.argsort(errors[known])]
        points = right.scatter(*places[order].T, c=errors[order], s=22, cmap="viridis", linewidths=0)
        figure.colorbar(points, label=error_label)
    left.set_ylabel(labels[1])
    for axes in (left, right):
        axes.set_xlabel(labels[0])
    return figure
