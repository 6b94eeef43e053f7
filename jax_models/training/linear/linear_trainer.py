"""The linear trainer: least squares for a model with a linear readout, on any descriptor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jax_models.training.data.structures import Structure
from jax_models.training.gradient.trainer import Training
from jax_models.training.linear.ensemble import KEY, described
from jax_models.training.linear.evidence import most_probable
from jax_models.training.linear.least_squares import FOLDS, STRENGTHS, cross_validated, folds_of, triangle
from jax_models.training.linear.problem import pose
from jax_models.training.settings import Settings

MEMBERS = 20
"""Draws from the posterior that a potential with a smooth prior keeps, for its uncertainty."""

"""Parts of the data for cross-validation; the training keeps a triangular factor of each, never the rows."""


def train_linear(
    structures: Sequence[Structure],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings | None = None,
    *,
    validation: Sequence[Structure] | None = None,
    progress: Callable[[int, int], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Training:
    """Fit the linear readout of a model to energies, and to forces and stresses where there are any and they weigh.

    The minimum of the gradient trainer's loss plus a ridge penalty, found directly. All structures are fitted; the
    ridge strength is the one that predicts left-out eighths of them best (`folds_of`). With ``prior`` "smooth" all
    strengths are averaged by their evidence (`most_probable`), and the potential keeps draws from what is then known of
    its parameters. Rows are streamed through QR factorisations: the memory grows with the square of the number of
    features, not with the data.

    Args:
        structures: training data.
        architecture: what `jax_models.models.build` takes; its readout is linear, also where none is given.
        cutoff: Å.
        settings: its weights, ``energy_range``, ``prior``, ``ridge`` and ``seed`` count.
        validation: only measured.
        progress: called with the number of structures done, and of all.
        provenance: added to what the potential says of its origin.

    Returns:
        The potential, and as history a record for each ridge strength tried.

    Raises:
        DatasetError: data that cannot be trained on; the text names the frame.
        ConfigError: a setting out of range, or a model that is not linear in its readout.

    Example:
        >>> structures = read_structures("Si_train.xyz.xz")  # doctest: +SKIP
        >>> train_linear(structures, {"descriptor": {"name": "soap"}}, 5.0).potential.save("si.jaxff")  # doctest: +SKIP
    """
    settings = settings or Settings()
    problem = pose(structures, architecture, cutoff, settings, validation or ())
    n_columns = problem.n_parameters + 1
    n_folds = min(FOLDS, len(problem.structures))
    folds = folds_of(problem.kinds, n_folds)
    triangles = [np.zeros((0, n_columns))] * n_folds
    n_rows = 0
    for number, rows in enumerate(problem.rows()):
        triangles[folds[number]] = triangle([triangles[folds[number]], rows], n_columns)
        n_rows += len(rows)
        progress and progress(number + 1, len(folds))
    if settings.prior == "smooth":
        found = most_probable(triangle(triangles, n_columns), n_rows, problem.parameter_names)
        members = found.draw(MEMBERS, settings.seed)
        origin = {
            "method": "linear, smooth prior",
            "ridge": max(found.path, key=lambda record: record["log_evidence"])["ridge"],
            "log_evidence": found.log_evidence,
            KEY: described(members),
            **(provenance or {}),
        }
        drawn = np.array(members)
        return Training(problem.potential(found.parameters, origin, validation), found.path, drawn - drawn.mean(axis=0))
    fit = cross_validated(triangles, STRENGTHS if settings.ridge is None else [settings.ridge])
    origin = {"method": "linear", "ridge": fit.strength, **(provenance or {})}
    heads = fit.ridge.draw(fit.strength, max(settings.heads, 2), settings.seed)
    return Training(problem.potential(fit.parameters, origin, validation), fit.path, heads)
