"""Neighbour list with a skin: kept while no pair can have come inside the cutoff unseen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jax_models.neighborhood import complete_cell, dense_neighbors, neighbor_pairs


class SkinList:
    """Padded neighbour matrix of all pairs closer than ``cutoff + skin`` (Å) when it was built.

    Attributes after `update`:
        neighbors: [N, K] index of j; padding points at the atom itself.
        offsets: [3, N, K] lattice part of r_j - r_i in Å, component first; padding stands beyond the cutoff,
            so that a test of the distance is the whole mask.
    """

    def __init__(self, cutoff: float, skin: float):
        self.cutoff = cutoff
        self.skin = skin
        self.builds = 0
        self._built: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._cell = np.zeros((3, 3))

    def update(self, positions: Float[np.ndarray, "N 3"], cell: Float[np.ndarray, "3 3"], periodic: np.ndarray) -> bool:
        """Bring the list up to date; True where it was built anew, so that its shape may have changed.

        Raises:
            StructureError: positions or cell are not finite, or a periodic cell has no volume.
        """
        if self._still_complete(positions, cell, periodic):
            if not np.array_equal(cell, self._cell):
                self._set_offsets(cell)
            return False
        self._built = None  # an interrupt from here on leaves no list, rather than half of one
        i, j, shifts = neighbor_pairs(positions, cell, periodic, self.cutoff + self.skin)
        self.neighbors, self._shifts, mask = dense_neighbors(i, j, shifts, len(positions))
        self._padding = ~mask
        self.neighbors[self._padding] = np.nonzero(self._padding)[0]
        self._set_offsets(cell)
        self.builds += 1
        self._built = positions.copy(), cell.copy(), periodic.copy()
        return True

    def _set_offsets(self, cell: np.ndarray) -> None:
        self.offsets = np.einsum("nks,sa->ank", self._shifts, cell, optimize=True)
        self.offsets[:, self._padding] = 2.0 * self.cutoff
        self._cell = cell.copy()

    def _still_complete(self, positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray) -> bool:
        """A pair within ``cutoff`` now was at most (cutoff + 2 u) |h^-1| apart when the list was built, where h is the
        strain since then and u the largest displacement on top of it."""
        if self._built is None or self.skin == 0.0:
            return False
        moved, shrinkage = largest_move(self._built, positions, cell, periodic)
        return bool((self.cutoff + 2.0 * moved) * shrinkage <= self.cutoff + self.skin)


def largest_move(
    built: tuple[np.ndarray, np.ndarray, np.ndarray],
    positions: Float[np.ndarray, "N 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: np.ndarray,
) -> tuple[float, float]:
    """The largest displacement (Å) of an atom since ``built`` (positions, cell, periodic), on top of the strain h of
    the cell, and the norm of h^-1. Infinite, or NaN, where the two cannot be compared."""
    old_positions, old_cell, old_periodic = built
    if positions.shape != old_positions.shape or not np.array_equal(periodic, old_periodic):
        return np.inf, 1.0
    shrinkage = 1.0
    if periodic.any() and not np.array_equal(cell, old_cell):
        if not np.isfinite(cell).all():
            return np.inf, 1.0
        cell, old_cell = complete_cell(cell, periodic), complete_cell(old_cell, periodic)
        strain = np.linalg.solve(old_cell, cell)
        old_positions = old_positions @ strain
        shrinkage = float(np.linalg.norm(np.linalg.inv(strain), 2))
    moved = positions - old_positions
    # Comparing with NaN is False: positions that are not finite lead to a build, which names them.
    return float(np.sqrt(np.einsum("ia,ia->i", moved, moved).max(initial=0.0))), shrinkage
