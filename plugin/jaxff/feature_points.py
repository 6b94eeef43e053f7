"""Where features are looked at from, other than atoms: the middles of bonds, a grid, or any points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jax_models.elements import element_indices
from jax_models.errors import ConfigError, StructureError
from jax_models.neighborhood import Neighborhood, neighbor_pairs, neighborhood_of, pair_vectors
from jax_models.reference_points.grid_list import grid_points

if TYPE_CHECKING:
    from ase import Atoms

NAMED = ("bonds", "grid")


def named_points(
    atoms: Atoms, name: str, reach: float, *, spacing: float = 1.0, bond_cutoff: float = 3.0
) -> Float[np.ndarray, "P 3"]:
    """Points (Å) of a structure.

    Args:
        atoms: the structure.
        name: ``bonds``: the middle of each pair closer than ``bond_cutoff`` (Å), images included, once; ``grid``:
            points at most ``spacing`` (Å) apart, along the periodic cell vectors, that are within ``reach`` of an atom.
        reach: Å.
        spacing, bond_cutoff: Å.

    Raises:
        ConfigError: another name, or a distance that is not positive.
        StructureError: positions that are not finite, or a periodic cell without volume.
    """
    if name not in NAMED:
        raise ConfigError(f"points is {name!r}; it must be bonds, grid or a file")
    for key, value in (("spacing", spacing), ("bond_cutoff", bond_cutoff)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
            raise ConfigError(f"{key} is {value!r}; it must be a positive distance in Å")
    if name == "grid":
        return grid_points(atoms.positions, atoms.cell.array, atoms.pbc, spacing, reach).points
    i, j, shifts = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, bond_cutoff)
    vectors = pair_vectors(atoms.positions, atoms.cell.array, i, j, shifts)
    # A pair stands in the list twice, an atom and its own image with both signs of the shift.
    nonzero = shifts != 0
    first = shifts[np.arange(len(shifts)), nonzero.argmax(axis=1)]
    once = (i < j) | ((i == j) & (first > 0))
    return atoms.positions[i[once]] + 0.5 * vectors[once]


def points_in(path: Path, structures: int) -> list[Float[np.ndarray, "P 3"]]:
    """The points that a file lists, for each structure: .npy [P, 3] or text of three columns, the same for all; any
    other format that ASE reads, a frame for each structure (or one for all) whose elements do not matter.

    Raises:
        ConfigError: a file with other than three columns, with numbers that are not finite, or with too few frames.
        DatasetError: ASE cannot read it.
    """
    from jaxff.io import read_frames

    if path.suffix in (".npy", ".txt", ".dat", ".csv"):
        try:
            if path.suffix == ".npy":
                read = np.load(path, allow_pickle=False)
            else:
                read = np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None, ndmin=2)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the points in {path}: {error}") from None
        found = [np.asarray(read)]
    else:
        found = [frame.positions for frame in read_frames(path)]
    for points in found:
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ConfigError(f"{path} must hold points as three columns x, y, z in Å; it holds {points.shape}")
        if points.dtype.kind not in "fiu" or not np.isfinite(points).all():
            raise ConfigError(f"{path} holds points that are not finite numbers")
    if len(found) not in (1, structures):
        raise ConfigError(f"{path} has points for {len(found)} structures; there are {structures}")
    return found * structures if len(found) == 1 else found


def environments_at(
    atoms: Atoms, points: Float[np.ndarray, "P 3"], elements: Sequence[str], cutoff: float
) -> Neighborhood:
    """What points see of a structure's atoms within ``cutoff`` (Å); a point has no element.

    Raises:
        StructureError: a point that is not finite, an element not in ``elements``, or a periodic cell without volume.
    """
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise StructureError(f"points must be finite numbers [P, 3] in Å; they are {points.shape}")
    n = len(atoms)
    species = element_indices(atoms.get_chemical_symbols(), tuple(elements))
    everything = np.concatenate([atoms.positions, points])
    nb = neighborhood_of(
        everything, atoms.cell.array, atoms.pbc, np.concatenate([species, np.zeros(len(points), int)]), cutoff
    )
    mask, neighbors = nb.mask[n:], nb.neighbors[n:]
    mask = mask & (neighbors < n)
    # Atoms first, so that what a row keeps is as wide as its atoms need.
    order = np.argsort(~mask, axis=1, kind="stable")[:, : max(1, int(mask.sum(axis=1).max(initial=1)))]
    rows = np.arange(len(points))[:, None]
    centers = np.full(len(points), -1, np.int32)
    return Neighborhood(nb.vectors[n:][rows, order], centers, nb.neighbor_species[n:][rows, order], mask[rows, order])
