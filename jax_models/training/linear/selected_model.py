"""From structures to a potential with few features: selection, its honest error, and an ensemble for the
uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jax_models.potential import Potential
from jax_models.training.data.structures import Structure
from jax_models.training.linear.ensemble import KEY, described
from jax_models.training.linear.feature_selection import Rows, Selection, nested_error, ordering, select, stable_order
from jax_models.training.linear.least_squares import triangle
from jax_models.training.linear.problem import pose
from jax_models.training.settings import Settings

SHARE = 0.8
"""Of the structures, drawn for each member of the ensemble."""


@dataclass(frozen=True)
class SelectedModel:
    """What `select_features` returns."""

    potential: Potential
    selection: Selection
    report: dict[str, Any]
    """``method``, ``size``, ``path`` (see `Selection`) and ``nested`` (see `nested_error`); for each selected parameter
    ``selected`` tells its element, feature and ``frequency`` over random halves of the data; ``ensemble_sizes`` of the
    members. Errors are in eV/atom, those of forces and virials converted by the weights of the settings."""


def select_features(
    structures: Sequence[Structure],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings | None = None,
    *,
    method: str = "ols",
    most: int = 200,
    members: int = 0,
    validation: Sequence[Structure] | None = None,
    progress: Callable[[int, int], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> SelectedModel:
    """A linear model on the features that cross-validation selects.

    Args:
        structures: training data; all of their equations are kept in memory.
        architecture: see `train_linear`.
        cutoff: Å.
        settings: the weights of energies, forces and stresses, and ``seed``, count.
        method: ``ols``, ``omp``, ``lasso`` or ``stability``; see `selection`.
        most: features, at most.
        members: with two or more, the potential is the mean of so many selections on random four fifths of the
            structures.
        validation: only measured.
        progress: called with the number of structures done, and of all.
        provenance: added to what the potential says of its origin.

    Raises:
        DatasetError: data that cannot be trained on; the text names the frame.
        ConfigError: an unknown method, a setting out of range, or a model that is not linear in its readout.

    Example:
        >>> structures = read_structures("Si_train.xyz.xz")  # doctest: +SKIP
        >>> architecture = {"descriptor": {"name": "ace"}}
        >>> select_features(structures, architecture, 5.0, members=10).report["size"]  # doctest: +SKIP
    """
    settings = settings or Settings()
    ordering(method, settings.seed)
    problem = pose(structures, architecture, cutoff, settings)
    n_columns = problem.n_parameters + 1
    # In units of the energy error: the squares sum up to the mean squared error, eV/atom, where there are energies
    # only.
    unit = 1.0 / np.sqrt(settings.energy_weight) if settings.energy_weight > 0 else 1.0
    parts = []
    for number, rows in enumerate(problem.rows()):
        parts.append(triangle([unit * rows], n_columns))
        progress and progress(number + 1, len(problem.structures))
    kinds = problem.kinds
    kept = problem.bias_indices
    options: dict[str, Any] = {"method": method, "most": most}
    selection = select(parts, kinds, kept, seed=settings.seed, **options)
    solutions = [selection.parameters]
    if members > 1:
        solutions = [m.parameters for m in ensemble(parts, kinds, kept, members, seed=settings.seed, **options)]
    frequency = stable_order(parts, np.array(kept), selection.size, settings.seed)[1]
    names = problem.parameter_names
    report = {
        "method": method,
        "size": selection.size,
        "ridge": selection.strength,
        "path": selection.path,
        "nested": nested_error(parts, kinds, kept, seed=settings.seed, **options),
        "selected": [
            {**names[i], "frequency": float(frequency[i]), "parameter": float(selection.parameters[i])}
            for i in selection.selected
        ],
        "ensemble_sizes": [int(np.count_nonzero(m)) for m in solutions] if members > 1 else [],
    }
    origin = {
        "method": f"linear, {method}",
        "features": selection.size,
        "ridge": selection.strength,
        **(provenance or {}),
    }
    if members > 1:
        origin[KEY] = described(solutions)
    potential = problem.potential(np.mean(solutions, axis=0), origin, validation)
    return SelectedModel(potential, selection, report)


def ensemble(
    parts: Sequence[Rows],
    kinds: Sequence[tuple[str, float]],
    kept: Sequence[int],
    members: int,
    *,
    seed: int = 0,
    **options: Any,
) -> list[Selection]:
    """Selections on random parts of the data, each with its own features and size."""
    generator = np.random.default_rng([seed, 5])
    result = []
    for _ in range(members):
        chosen = generator.choice(len(parts), max(round(SHARE * len(parts)), 2), replace=False)
        result.append(
            select(
                [parts[i] for i in chosen],
                [kinds[i] for i in chosen],
                kept,
                seed=int(generator.integers(2**31)),
                **options,
            )
        )
    return result
