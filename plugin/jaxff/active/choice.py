"""From all that was explored, what to label; and what the labels say of the potential that chose them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from jax_models import Potential
from jax_models.training.data.batches import common_shape, prepare
from jax_models.training.data.structures import Structure
from jax_models.training.gradient.metrics import fixed_batches
from jax_models.training.uncertainty.measurement import stacked_features
from jaxff.active.cutting import small_enough
from jaxff.active.exploration import ERROR
from jaxff.active.folder import identity
from jaxff.active.selection import WORST, most_informative
from jaxff.active.settings import Selection

TOGETHER = 4
"""Structures of average size in a batch."""


def choose(
    potential: Potential,
    known: Sequence[Atoms],
    candidates: Sequence[Atoms],
    select: Selection,
    failed: Collection[str] = (),
) -> tuple[list[Atoms], int]:
    """The most informative of ``candidates`` that are not ``known`` yet, cut where they are too large; and how many are
    too large even so.

    Args:
        failed: ids of those that could not be labelled; they are not chosen again.
    """
    seen = {identity(atoms) for atoms in known} | set(failed)
    fresh: dict[str, Atoms] = {}
    labellable, left_out = small_enough(candidates, select, potential.cutoff)
    for atoms in labellable:
        if identity(atoms) not in seen:
            fresh.setdefault(identity(atoms), atoms)
    pool = list(fresh.values())
    if not pool:
        return [], left_out
    vectors = environments(potential, pool)
    worst = [v[_speakers(atoms)] for v, atoms in zip(vectors, pool, strict=True)]
    of_known = np.concatenate(environments(potential, known))
    return [pool[index] for index in most_informative(worst, of_known, select.per_round)], left_out


def _speakers(atoms: Atoms) -> Int[np.ndarray, "W"]:
    """The most uncertain atoms; in a piece that was cut out, of those whose surroundings are as the run met them."""
    errors = atoms.arrays[ERROR]
    ordered = np.argsort(-errors)[:WORST]
    return ordered[errors[ordered] > 0]


def environments(potential: Potential, frames: Sequence[Atoms]) -> list[Float[np.ndarray, "A SD"]]:
    """The whitened features of each atom, in the directions in which the grade measures: a block for each element."""
    uncertainty: Any = potential.uncertainty
    structures = [
        Structure(a.positions, a.cell.array, a.pbc, tuple(a.get_chemical_symbols()), 0.0, name="structure")
        for a in frames
    ]
    references = np.zeros(len(potential.elements))
    prepared = [prepare(s, potential.elements, references, potential.cutoff) for s in structures]
    batches = fixed_batches(prepared, common_shape(prepared, TOGETHER))
    features, species = stacked_features(potential.model, batches)
    n_elements, _, n_directions = uncertainty.grade.projection.shape
    vectors = np.zeros((len(features), n_elements, n_directions))
    for element in range(n_elements):
        own = species == element
        projected = features[own] @ np.asarray(uncertainty.grade.projection[element], float)
        vectors[own, element] = projected - np.asarray(uncertainty.grade.offset[element], float)
    ends = np.cumsum([len(a) for a in frames])
    return np.split(vectors.reshape(len(vectors), -1), ends[:-1])


def worth(potential: Potential, labelled: Sequence[Atoms]) -> dict[str, float | None]:
    """On structures that were just labelled: ``new_force_rmse`` (eV/Å), and ``new_coverage``, the part of atoms whose
    force error is below the expected one. None where there are none."""
    from jaxff import JaxffCalculator

    calculator = JaxffCalculator(potential)
    errors, expected = [np.zeros(0)], [np.zeros(0)]
    for atoms in labelled:
        at = atoms.copy()
        at.calc = calculator
        errors.append(np.linalg.norm(at.get_forces() - atoms.get_forces(), axis=1))
        expected.append(calculator.results[ERROR])
    found, bars = np.concatenate(errors), np.concatenate(expected)
    if not len(found):
        return {"new_force_rmse": None, "new_coverage": None}
    return {"new_force_rmse": float(np.sqrt(np.mean(found**2) / 3)), "new_coverage": float(np.mean(found <= bars))}
