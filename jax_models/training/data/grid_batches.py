"""Batches of grid points: the same shapes for all, forces gathered, and a density at each point where one is known."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jax_models.errors import DatasetError, StructureError
from jax_models.neighborhood import Neighborhood
from jax_models.reference_points.grid_list import grid_points
from jax_models.training.data.batches import Prepared, Shape, packed_labels, prepare, species_and_energy
from jax_models.training.data.structures import Structure


def rows_of(model: eqx.Module) -> Callable[..., Prepared]:
    """What prepares a structure for ``model``: its atoms, or the points of a grid."""
    spacing = getattr(model, "spacing", 0.0)
    return functools.partial(prepare_grid, spacing=spacing) if spacing else prepare


class GridBatch(NamedTuple):
    """As `Batch`, with R points instead of atoms for rows (a JAX pytree)."""

    neighborhood: Neighborhood
    entries: Int[Any, "A M"]
    """Flat indices of the entries (point, neighbour) that are each atom; R x K, one past the last, where there are no
    more."""
    structure: Int[Any, " R"]
    forces: Float[Any, "A 3"]
    force_weight: Float[Any, " A"]
    energy: Float[Any, " B"]
    energy_weight: Float[Any, " B"]
    virial: Float[Any, "B 3 3"]
    virial_weight: Float[Any, " B"]
    n_atoms: Float[Any, " B"]
    weight: Float[Any, " B"]
    atom_weight: Float[Any, " A"]
    volume: Float[Any, " R"]
    """Of a grid cell, Å^3."""
    density: Float[Any, " R"]
    """eV/Å^3"""
    density_weight: Float[Any, " R"]
    """Å^3/atom of the structure where there is a label, else 0: the error counts as if it were the same everywhere."""


@dataclass(frozen=True, eq=False)
class PreparedGrid(Prepared):
    """A structure with the points that see it. ``vectors``, ``neighbors`` and ``mask`` have a row for each point, and
    ``reverse[N, M, 2]`` the rows and columns where each atom stands, -1 where there are no more."""

    volume: float
    density: Float[np.ndarray, " P"] | None

    def pack(self, members: Sequence[PreparedGrid], shape: Shape) -> GridBatch:
        return _pack(members, shape)


def prepare_grid(
    structure: Structure,
    elements: Sequence[str],
    references: Float[np.ndarray, " S"],
    cutoff: float,
    dtype: type = np.float32,
    *,
    spacing: float,
) -> PreparedGrid:
    """The points that see an atom, and the energy left for the model to learn; vectors are cast to ``dtype``.

    A labelled density fixes the grid: its own, or every n-th point of it while that is no coarser than ``spacing``.

    Raises:
        DatasetError: as `prepare`; a density of an open structure, or coarser than ``spacing``.
    """
    species, energy = species_and_energy(structure, elements, references)
    density, counts = structure.density, None
    if density is not None:
        density = _thinned(structure, spacing)
        counts = np.array(density.shape)
    try:
        points = grid_points(structure.positions, structure.cell, structure.periodic, spacing, cutoff, counts)
    except StructureError as error:
        raise DatasetError(f"{structure.name}: {error}") from None
    nb = points.neighborhood(structure.positions, structure.cell, species, dtype)
    forces = np.zeros((1, 3)) if structure.forces is None and structure.isolated else structure.forces
    density = None if density is None else density[tuple(points.indices.T)]
    return PreparedGrid(
        nb.vectors, nb.neighbors, nb.mask, _transposed(nb.neighbors, nb.mask, len(species)), species, energy, forces,
        structure.virial, structure.weight, points.weight, density,
    )  # fmt: skip


def _thinned(structure: Structure, spacing: float) -> np.ndarray:
    density = np.asarray(structure.density, float)
    if not np.all(structure.periodic):
        raise DatasetError(
            f"{structure.name}: a density on a grid needs a structure that is periodic in all directions"
        )
    for axis, length in enumerate(np.linalg.norm(structure.cell, axis=1)):
        n = density.shape[axis]
        steps = [s for s in range(1, n + 1) if n % s == 0 and length * s / n <= spacing + 1e-9]
        if not steps:
            raise DatasetError(
                f"{structure.name}: the points of its density are {length / n:.3g} Å apart along cell vector "
                f"{axis + 1}; the "
                f"model needs {spacing:.3g} or less: choose a larger model.reference_points.spacing, or give "
                "finer densities"
            )
        density = density[(slice(None),) * axis + (slice(None, None, max(steps)),)]
    return density


def _transposed(
    neighbors: Int[np.ndarray, "P K"], mask: Bool[np.ndarray, "P K"], n_atoms: int
) -> Int[np.ndarray, "N M 2"]:
    row, column = np.nonzero(mask)
    atom = neighbors[row, column]
    order = np.argsort(atom, kind="stable")
    counts = np.bincount(atom, minlength=n_atoms)
    result = np.full((n_atoms, max(int(counts.max(initial=0)), 1), 2), -1, np.int32)
    result[np.arange(result.shape[1]) < counts[:, None]] = np.stack([row[order], column[order]], axis=1)
    return result


def _pack(members: Sequence[PreparedGrid], shape: Shape) -> GridBatch:
    """One batch of NumPy arrays, in the type of the members' vectors."""
    dtype = members[0].vectors.dtype
    r, k, b, a, m = shape.rows, shape.neighbors, shape.structures, shape.atoms, shape.entries
    vectors, mask = np.zeros((r, k, 3), dtype), np.zeros((r, k), bool)
    neighbors, seen, structure = np.zeros((r, k), np.int32), np.zeros((r, k), np.int32), np.full(r, b, np.int32)
    entries = np.full((a, m), r * k, np.int32)
    volume, density, density_weight = (np.zeros(r, dtype) for _ in range(3))
    row = atom = 0
    for number, p in enumerate(members):
        (points, width), (n, most, _) = p.mask.shape, p.reverse.shape
        rows, atoms = slice(row, row + points), slice(atom, atom + n)
        vectors[rows, :width], mask[rows, :width] = p.vectors, p.mask
        neighbors[rows, :width], seen[rows, :width] = p.neighbors + atom, p.species[p.neighbors]
        flat = (p.reverse[..., 0] + row) * k + p.reverse[..., 1]
        entries[atoms, :most] = np.where(p.reverse[..., 0] >= 0, flat, r * k)
        structure[rows], volume[rows] = number, p.volume
        if p.density is not None:
            density[rows], density_weight[rows] = p.density, p.volume * points / n
        row, atom = row + points, atom + n
    nb = Neighborhood(vectors, np.full(r, -1, np.int32), seen, mask, neighbors)
    return GridBatch(
        neighborhood=nb, entries=entries, structure=structure, volume=volume, density=density,
        density_weight=density_weight, **packed_labels(members, shape),
    )  # fmt: skip


@jax.custom_vjp
def forces_on_atoms(
    gradient: Float[Array, "R K 3"], entries: Int[Array, "A M"], neighbors: Int[Array, "R K"], mask: Bool[Array, "R K"]
) -> Float[Array, "A 3"]:
    """F_a = -sum of the gradient's entries that are atom a: a gather, and so is its transpose."""
    return gathered_from_points(gradient, entries)


def gathered_from_points(gradient: Float[Array, "R K 3"], entries: Int[Array, "A M"]) -> Float[Array, "A 3"]:
    """`forces_on_atoms` for forward differentiation, which a function with a transpose of its own does not allow."""
    flat = jnp.concatenate([gradient.reshape(-1, 3), jnp.zeros_like(gradient[:1, 0])])
    return -jnp.sum(flat[entries], axis=1)


def _forces_forward(gradient, entries, neighbors, mask):
    return forces_on_atoms(gradient, entries, neighbors, mask), (neighbors, mask)


def _forces_backward(residuals, cotangent):
    neighbors, mask = residuals
    return jnp.where(mask[..., None], -cotangent[neighbors], 0.0), None, None, None


forces_on_atoms.defvjp(_forces_forward, _forces_backward)
