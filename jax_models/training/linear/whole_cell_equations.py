"""The linear equations of whole-cell models: features of each structure, and their derivatives where asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.errors import DatasetError, StructureError
from jax_models.training.data.batches import species_and_energy
from jax_models.training.data.structures import Structure
from jax_models.training.linear.equations import Equations
from jax_models.whole_cell import enclosing_cell, padded

SMALLEST = 1e-3
"""A feature's spread over structures is taken as at least this part of its mean, and of the largest spread: what hardly
varies is not blown up."""


@dataclass(frozen=True, eq=False)
class PreparedCell:
    """A structure as a whole-cell model sees it, and the labels left for the model to learn."""

    arguments: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """Positions, cell, species and mask, padded."""
    grid: tuple[int, int, int]
    n_atoms: int
    energy: float
    forces: Float[np.ndarray, "N 3"] | None
    virial: Float[np.ndarray, "3 3"] | None

    def __len__(self) -> int:
        return self.n_atoms


def prepare_cell(
    structure: Structure, model: Any, elements: Sequence[str], references: Float[np.ndarray, " S"]
) -> PreparedCell:
    """Padded arrays in double precision, and the grid.

    Raises:
        DatasetError: an element not in ``elements``, an unusable cell.
    """
    species, energy = species_and_energy(structure, elements, references)
    try:
        box = enclosing_cell(structure.positions, structure.cell, structure.periodic, model.descriptor.reach)
    except StructureError as error:
        raise DatasetError(f"{structure.name}: {error}") from None
    arguments = padded(structure.positions, box, species, np.float64)
    return PreparedCell(arguments, model.grid_for(box), len(structure), energy, structure.forces, structure.virial)


def cell_equations(
    model: eqx.Module, prepared: Sequence[PreparedCell], forces: bool, stress: bool
) -> Iterator[Equations]:
    """The equations of each structure, in order; see `equations`."""
    for p in prepared:
        with jax.enable_x64(True):
            values = np.append(np.asarray(_features(model, *p.arguments, p.grid)), 1.0)
            matrix, n_forces = [values[None]], 0
            target: list[Any] = [[p.energy / len(p)]]
            if forces and p.forces is not None:
                # One forward derivative a coordinate gives that of all features; backwards it would be one a feature.
                changes = _along(model, *p.arguments, _moves(p), np.zeros((3 * len(p), 3, 3)), p.grid)
                matrix.append(np.pad(-len(p) * np.asarray(changes), ((0, 0), (0, 1))))
                target.append(np.ravel(p.forces))
                n_forces = p.forces.size
            if stress and p.virial is not None:
                strains = np.array([0.5 * (np.outer(a, b) + np.outer(b, a)) for a in np.eye(3) for b in np.eye(3)])
                changes = _along(model, *p.arguments, np.zeros((9, *p.arguments[0].shape)), strains, p.grid)
                matrix.append(np.pad(np.asarray(changes), ((0, 0), (0, 1))))
                target.append(np.ravel(p.virial) / len(p))
        yield Equations(np.concatenate(matrix), np.concatenate(target), n_forces)


def normalised_cells(model: eqx.Module, found: Sequence[Equations]) -> tuple[eqx.Module, list[Equations]]:
    """``model`` with the mean and spread of its features over structures, and the equations it then has.

    Args:
        model: with features as they come (mean 0, scale 1), which ``found`` was made with.
        found: equations of the training structures.
    """
    values = np.array([e.matrix[0, :-1] for e in found])
    mean, spread = values.mean(axis=0), values.std(axis=0)
    floor = np.maximum(SMALLEST * np.abs(mean), SMALLEST * spread.max())
    spread = np.maximum(spread, np.where(floor > 0, floor, 1.0))
    scaled = []
    for e in found:
        matrix = e.matrix.copy()
        matrix[0, :-1] -= mean
        matrix[:, :-1] /= spread
        scaled.append(replace(e, matrix=matrix))
    return eqx.tree_at(lambda m: (m.feature_mean, m.feature_scale), model, (mean, 1.0 / spread)), scaled


def _moves(p: PreparedCell) -> Float[np.ndarray, "M A 3"]:
    moves = np.zeros((3 * len(p), *p.arguments[0].shape))
    for k, move in enumerate(moves):
        move[k // 3, k % 3] = 1.0
    return moves


@eqx.filter_jit
def _features(model, positions, cell, species, mask, grid) -> Float[Array, " F"]:
    return model.features(positions, cell, species, mask, grid)


@eqx.filter_jit
def _along(model, positions, cell, species, mask, moves, strains, grid) -> Float[Array, "M F"]:
    """Derivatives of the features (per atom) along each move of the atoms and strain of all."""

    def features(moved, strain):
        deformation = jnp.eye(3) + strain
        return model.features(moved @ deformation, cell @ deformation, species, mask, grid)

    zero = positions, jnp.zeros((3, 3))
    return jax.lax.map(lambda direction: jax.jvp(features, zero, direction)[1], (moves, strains))
