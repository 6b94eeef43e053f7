"""Neighborhood: the padded neighbour matrix that is the only thing a local model sees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.errors import StructureError

PADDING = 1.0
"""Å: each component of a padded vector. A distance of zero would have no direction and no derivative."""


class Neighborhood(NamedTuple):
    """Environments of N centres, padded to K neighbours each (a JAX pytree).

    Dense, because the sum over neighbours is then a small matrix product and nothing has to be
    scattered on the way up. Padded entries have ``mask`` False. Engines may leave anything in their other fields:
    `jax_models.derivatives.safe_padding` replaces it before a derivative is taken. The fields are NumPy arrays where
    neighbours are found, and JAX arrays where energies are computed.
    """

    vectors: Float[Any, "N K 3"]
    """r_j - r_i in Å."""
    species: Int[Any, " N"]
    """Index of each centre's element in the model's element list."""
    neighbor_species: Int[Any, "N K"]
    mask: Bool[Any, "N K"]
    """True where there is a neighbour."""
    neighbors: Int[Any, "N K"] = None
    """Index of j among the centres; None where nobody needs it: local models do not read it."""


def bucket(n: int, multiple: int = 4) -> int:
    """The padded size for ``n`` entries: about 12 % apart, so that growth compiles seldom.

    Example:
        >>> bucket(30), bucket(33), bucket(1000, 64)
        (32, 36, 1024)
    """
    size = multiple
    while size < n:
        size = max(size + multiple, int(size * 1.12) // multiple * multiple)
    return size


def check_finite(positions: Float[np.ndarray, "N 3"], cell: Float[np.ndarray, "3 3"]) -> None:
    """Refuse positions or a cell (Å) with which nothing can be computed.

    Raises:
        StructureError: they are not finite; the text names the first such atom.
    """
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions))[0, 0])
        raise StructureError(f"atom {atom} has a position that is not finite: {positions[atom]}")
    if not np.isfinite(cell).all():
        raise StructureError(f"the cell has entries that are not finite: {np.asarray(cell).tolist()}")


def neighbor_pairs(
    positions: Float[np.ndarray, "N 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, " 3"] | bool,
    cutoff: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All ordered pairs closer than ``cutoff`` (Å), images included, sorted by the first atom.

    Returns ``i[P]``, ``j[P]`` and integer cell ``shifts[P, 3]`` with r_j + shifts @ cell - r_i the pair vector.

    Raises:
        StructureError: positions or cell are not finite, or a periodic cell has no volume.
    """
    from vesin import NeighborList

    periodic = np.broadcast_to(np.asarray(periodic, bool), (3,))
    check_finite(positions, cell)
    if len(positions) == 0:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.int32)
    if periodic.any() and not periodic.all():
        cell = complete_cell(cell, periodic)
    if periodic.all() and abs(np.linalg.det(cell)) < 1e-8:
        raise StructureError("the structure is periodic, but its cell has no volume")
    # vesin takes its cell as float64 in C order.
    i, j, shifts = NeighborList(cutoff=float(cutoff), full_list=True, sorted=True).compute(
        points=np.ascontiguousarray(positions, float),
        box=np.ascontiguousarray(cell if periodic.any() else np.zeros((3, 3)), float),
        periodic=periodic if periodic.any() else False,
        quantities="ijS",
    )
    return i.astype(np.int32), j.astype(np.int32), shifts.astype(np.int32)


def complete_cell(cell: Float[np.ndarray, "3 3"], periodic: Bool[np.ndarray, " 3"]) -> np.ndarray:
    """``cell`` with each missing non-periodic vector replaced by a unit vector normal to the others."""
    cell = np.array(cell, float)
    for axis in range(3):
        if not periodic[axis] and np.linalg.norm(cell[axis]) < 1e-8:
            others = [cell[(axis + 1) % 3], cell[(axis + 2) % 3]]
            normal = np.cross(*others)
            if np.linalg.norm(normal) < 1e-8:  # another vector is missing too: any direction off both will do
                normal = np.linalg.svd(np.array(others))[2][-1]
            cell[axis] = normal / np.linalg.norm(normal)
    return cell


def pair_vectors(
    positions: Float[np.ndarray, "N 3"],
    cell: Float[np.ndarray, "3 3"],
    i: Int[np.ndarray, "*P"],
    j: Int[np.ndarray, "*P"],
    shifts: Int[np.ndarray, "*P 3"],
) -> Float[np.ndarray, "*P 3"]:
    """The vectors r_j + shifts @ cell - r_i (Å) of a list of pairs, or of a matrix of them (``i`` then is a column).

    Example:
        >>> here, shift = np.zeros(1, int), np.array([[1, 0, 0]])
        >>> pair_vectors(np.zeros((1, 3)), 4.0 * np.eye(3), here, here, shift).tolist()
        [[4.0, 0.0, 0.0]]
    """
    return positions[j] - positions[i] + shifts @ cell


def dense_neighbors(
    i: Int[np.ndarray, " P"],
    j: Int[np.ndarray, " P"],
    shifts: Int[np.ndarray, "P 3"],
    n_atoms: int,
    n_neighbors: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pair list as matrices: ``neighbors[N, K]``, ``shifts[N, K, 3]`` and ``mask[N, K]``; K is the largest
    count (at least 1) unless given.

    Raises:
        ValueError: an atom has more than ``n_neighbors`` neighbours (none is ever dropped).
    """
    counts = np.bincount(i, minlength=n_atoms)
    most = int(counts.max(initial=0))
    width = max(most, 1) if n_neighbors is None else n_neighbors
    if most > width:
        raise ValueError(f"an atom has {most} neighbours, more than the {width} there is room for")
    mask = np.arange(width)[None, :] < counts[:, None]
    neighbors = np.zeros((n_atoms, width), np.int32)
    dense_shifts = np.zeros((n_atoms, width, 3), np.int32)
    neighbors[mask] = j  # i is sorted, so the pairs fill the rows in order
    dense_shifts[mask] = shifts
    return neighbors, dense_shifts, mask


def neighborhood_of(
    positions: Float[np.ndarray, "N 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, " 3"] | bool,
    species: Int[np.ndarray, " N"],
    cutoff: float,
    dtype: type = np.float64,
    bucketed: bool = False,
) -> Neighborhood:
    """The atom-centred Neighborhood of a structure, with NumPy arrays; vectors are formed in float64, then cast.

    K is the largest number of neighbours, or with ``bucketed`` the `bucket` of it, so that like structures share one
    compilation.

    Raises:
        StructureError: positions or cell are not finite, or a periodic cell has no volume.

    Example:
        >>> nb = neighborhood_of(np.array([[0, 0, 0], [0, 0, 1.0]]), np.zeros((3, 3)), False, np.array([0, 0]), 3.0)
        >>> nb.vectors[0, 0].tolist()
        [0.0, 0.0, 1.0]
    """
    positions = np.asarray(positions, float)
    cell = np.asarray(cell, float)
    i, j, shifts = neighbor_pairs(positions, cell, periodic, cutoff)
    width = bucket(int(np.bincount(i, minlength=1).max())) if bucketed else None
    neighbors, dense_shifts, mask = dense_neighbors(i, j, shifts, len(positions), width)
    vectors = pair_vectors(positions, cell, np.arange(len(positions))[:, None], neighbors, dense_shifts)
    vectors[~mask] = PADDING
    species = np.asarray(species, np.int32)
    return Neighborhood(vectors.astype(dtype), species, species[neighbors], mask, neighbors)
