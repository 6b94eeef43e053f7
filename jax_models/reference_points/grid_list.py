"""Where the points of a grid are, and which atoms each of them sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from jax_models.errors import StructureError
from jax_models.neighborhood import PADDING, Neighborhood, check_finite


@dataclass(frozen=True, eq=False)
class GridPoints:
    """The points that see at least one atom, and the atoms (with their images) that they see.

    ``neighbors[P, K]`` counts in the images, padding is -1; point p stands at ``points[p]``, image m at
    ``positions[atoms[m]] + shifts[m] @ cell``.
    """

    points: Float[np.ndarray, "P 3"]
    indices: Int[np.ndarray, "P 3"]
    """k of each point; 0 <= k < n along periodic cell vectors."""
    steps: Float[np.ndarray, "3 3"]
    neighbors: Int[np.ndarray, "P K"]
    atoms: Int[np.ndarray, " M"]
    shifts: Int[np.ndarray, "M 3"]

    @property
    def weight(self) -> float:
        """Volume of a grid cell, Å^3."""
        return abs(float(np.linalg.det(self.steps)))

    def neighborhood(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        species: Int[np.ndarray, " N"],
        dtype: type,
    ) -> Neighborhood:
        """Rows for a model; ``neighbors`` are indices of atoms."""
        mask = self.neighbors >= 0
        vectors = (positions[self.atoms] + self.shifts @ cell)[self.neighbors] - self.points[:, None]
        vectors[~mask] = PADDING
        neighbors = np.where(mask, self.atoms[self.neighbors], 0).astype(np.int32)
        centers = np.full(len(self.points), -1, np.int32)
        return Neighborhood(vectors.astype(dtype), centers, species[neighbors].astype(np.int32), mask, neighbors)


def grid_steps(
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, " 3"],
    spacing: float,
    counts: Int[np.ndarray, " 3"] | None = None,
) -> tuple[Float[np.ndarray, "3 3"], Int[np.ndarray, " 3"]]:
    """The vectors from a point to the next ones, and how many points there are along each (0: as many as needed).

    Along a periodic cell vector: the vector over the smallest number that makes it at most ``spacing`` (Å), or over
    ``counts`` where given. Along others: ``spacing`` on a normal to the periodic ones, from the origin of space, so
    that the grid stays where it is when atoms move.

    Raises:
        StructureError: a periodic cell has no volume.

    Example:
        >>> steps, counts = grid_steps(np.diag([4.0, 4.0, 0.0]), np.array([True, True, False]), 0.9)
        >>> counts.tolist(), steps[2].tolist()
        ([5, 5, 0], [0.0, 0.0, 0.9])
    """
    cell, periodic = np.asarray(cell, float), np.broadcast_to(np.asarray(periodic, bool), (3,))
    steps, found = np.zeros((3, 3)), np.zeros(3, int)
    for axis in [axis for axis in range(3) if periodic[axis]]:
        length = np.linalg.norm(cell[axis])
        # A hair of tolerance: a cell of exactly n spacings must not get n + 1 points by rounding.
        found[axis] = max(1, int(np.ceil(length / spacing - 1e-9))) if counts is None else counts[axis]
        steps[axis] = cell[axis] / found[axis]
    taken = [axis for axis in range(3) if periodic[axis]]
    for axis in [axis for axis in range(3) if not periodic[axis]]:
        # The Cartesian axis of the same name, made normal to the vectors there are; another one where that fails.
        basis = np.linalg.qr(steps[taken].T)[0] if taken else np.zeros((3, 0))
        for name in (axis, (axis + 1) % 3, (axis + 2) % 3):
            normal = np.eye(3)[name] - basis @ (basis.T @ np.eye(3)[name])
            if np.linalg.norm(normal) > 0.1:
                break
        steps[axis] = spacing * normal / np.linalg.norm(normal)
        taken.append(axis)
    if abs(np.linalg.det(steps)) < 1e-9:
        raise StructureError("the structure is periodic, but its cell has no volume")
    return steps, found


def grid_points(
    positions: Float[np.ndarray, "N 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, " 3"] | bool,
    spacing: float,
    cutoff: float,
    counts: Int[np.ndarray, " 3"] | None = None,
) -> GridPoints:
    """The points closer than ``cutoff`` (Å) to any atom, in order of their indices, and the atoms they see.

    Raises:
        StructureError: positions or cell are not finite, or a periodic cell has no volume.

    Example:
        >>> found = grid_points(np.zeros((1, 3)), np.eye(3) * 4, True, 1.0, 3.0)
        >>> len(found.points), found.weight
        (64, 1.0)
    """
    positions, cell = np.asarray(positions, float), np.asarray(cell, float)
    periodic = np.broadcast_to(np.asarray(periodic, bool), (3,))
    check_finite(positions, cell)
    steps, counts = grid_steps(cell, periodic, spacing, counts)
    inverse = np.linalg.inv(steps)
    reach = cutoff * np.linalg.norm(inverse, axis=0)  # in steps, along each of the three indices
    atoms, shifts = _images(positions @ inverse, counts, reach, periodic)
    images = (positions @ inverse)[atoms] + shifts * counts
    ranges = []
    for axis in range(3):
        if periodic[axis] or not len(positions):
            ranges.append(np.arange(counts[axis]))
        else:
            low, high = images[:, axis].min() - reach[axis], images[:, axis].max() + reach[axis]
            ranges.append(np.arange(np.floor(low), np.ceil(high) + 1).astype(int))
    indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    points = indices @ steps
    if len(atoms) == 0:
        return GridPoints(points[:0], indices[:0], steps, np.zeros((0, 1), int), atoms, shifts)
    found = cKDTree(points).sparse_distance_matrix(cKDTree(images @ steps), cutoff, output_type="ndarray")
    order = np.lexsort((found["j"], found["i"]))
    i, j = found["i"][order], found["j"][order]
    seeing, row = np.unique(i, return_inverse=True)
    per_point = np.bincount(row, minlength=len(seeing))
    neighbors = np.full((len(seeing), max(int(per_point.max(initial=0)), 1)), -1, np.int32)
    neighbors[np.arange(neighbors.shape[1]) < per_point[:, None]] = j
    return GridPoints(points[seeing], indices[seeing], steps, neighbors, atoms, shifts)


def _images(scaled, counts, reach, periodic) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, "M 3"]]:
    """Atoms and the lattice shifts that bring them within ``reach`` of the points; ``scaled`` is in steps."""
    atoms, shifts = np.arange(len(scaled)), np.zeros((len(scaled), 3), int)
    for axis in np.flatnonzero(periodic):
        n = counts[axis]
        # Points lie at 0 ... n - 1: an image at x is seen if -reach < x < n - 1 + reach.
        first = np.ceil((-reach[axis] - scaled[atoms, axis]) / n).astype(int)
        last = np.floor((n - 1 + reach[axis] - scaled[atoms, axis]) / n).astype(int)
        number = np.maximum(last - first + 1, 0)
        start = np.cumsum(number) - number
        atoms, shifts = np.repeat(atoms, number), np.repeat(shifts, number, axis=0)
        shifts[:, axis] = np.repeat(first, number) + np.arange(len(atoms)) - np.repeat(start, number)
    return atoms, shifts
