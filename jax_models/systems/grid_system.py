"""Systems seen from a grid: its points, the blocks they are evaluated in, and the sums over them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.derivatives import point_sums
from jax_models.neighborhood import PADDING, Neighborhood, bucket
from jax_models.reference_points.grid_hysteresis import kept_counts
from jax_models.reference_points.grid_list import GridPoints, grid_points, grid_steps
from jax_models.systems.evaluator import BlockSize, Workspace
from jax_models.systems.result import Result
from jax_models.systems.skin_list import largest_move
from jax_models.systems.system import System


class GridSystem(System):
    """Evaluates a potential that looks from the points of a grid.

    The number of points is kept while it is neither too coarse nor much too fine for the cell (see `grid_hysteresis`),
    and the list of points while no atom can have come into view unseen.

    Args:
        evaluator: of the potential.
        skin: Å beyond the cutoff to which the list of points reaches.
    """

    def __init__(self, evaluator: Any, skin: float):
        super().__init__(evaluator.potential)
        self.evaluator = evaluator
        self.cutoff = self.potential.contract.cutoff
        self.skin = skin
        self.builds = 0
        self._block_size = BlockSize(evaluator)
        self._workspace: Workspace | None = None
        self._counts: tuple[int, int, int] | None = None
        self._species = np.zeros(0, np.int32)
        self._points: GridPoints | None = None
        self._built: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def _evaluate(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        periodic: Bool[np.ndarray, " 3"],
        species: Int[np.ndarray, " N"],
        outputs: Collection[str],
    ) -> Result:
        if not np.array_equal(species, self._species):  # another structure, with a grid of its own
            self.start_anew()
            self._species = species.copy()
        listed, steps = self._update(positions, cell, periodic)
        images = positions[listed.atoms] + listed.shifts @ cell
        # Padding, -1, points at one image more that stands beyond every cutoff.
        components = [np.append(images[:, axis], 1e10) for axis in range(3)]
        atom_of_image, points = np.append(listed.atoms, 0), listed.indices @ steps
        weight = abs(float(np.linalg.det(steps)))
        n_points, width = listed.neighbors.shape
        size = self._block_size(n_points)
        workspace = self._workspace_for(size, width)
        n_atoms = len(species)
        energies, forces, by_atom = np.zeros(n_atoms), np.zeros((n_atoms, 3)), np.zeros((n_atoms, 3, 3))
        for start in range(0, n_points, size):
            rows = slice(start, min(start + size, n_points))
            n, images_seen = rows.stop - start, listed.neighbors[rows]
            vectors = np.stack([components[a][images_seen] - points[rows, a, None] for a in range(3)], axis=-1)
            mask = np.einsum("nka,nka->nk", vectors, vectors) < self.cutoff**2
            atoms = atom_of_image[images_seen]
            vectors[~mask] = PADDING
            workspace.vectors[:n, :width], workspace.neighbor_species[:n, :width] = vectors, species[atoms]
            workspace.mask[:] = False
            workspace.mask[:n, :width] = mask
            density, gradient = self.evaluator.run(workspace)
            nb = Neighborhood(vectors, workspace.species[:n], species[atoms], mask, atoms)
            found = point_sums(nb, weight, density[:n], gradient[:n, :width], self.cutoff, n_atoms)
            energies += found["energies"]
            forces += found["forces"]
            by_atom += found["virials"]
        return Result(energies, forces, by_atom.sum(axis=0), by_atom)

    def start_anew(self) -> None:
        self._counts = None

    def _update(
        self, positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray
    ) -> tuple[GridPoints, Float[np.ndarray, "3 3"]]:
        """The list of points, brought up to date, and the vectors from a point to the next ones."""
        spacing = self.potential.contract.spacing
        _, fresh = grid_steps(cell, periodic, spacing)
        old = self._counts if self._built is not None and np.array_equal(periodic, self._built[2]) else None
        lengths = np.linalg.norm(cell, axis=1)
        counts = kept_counts(old, fresh.tolist(), lengths.tolist(), spacing)
        steps, _ = grid_steps(cell, periodic, spacing, np.array(counts))
        if self._points is None or counts != self._counts or not self._still_complete(positions, cell, periodic):
            reach = self.cutoff + self.skin
            self._built = None  # an interrupt from here on leaves no list, rather than half of one
            self._points = grid_points(positions, cell, periodic, spacing, reach, np.array(counts))
            self._built, self._counts = (positions.copy(), cell.copy(), periodic.copy()), counts
            self.builds += 1
        return self._points, steps

    def _workspace_for(self, size: int, width: int) -> Workspace:
        # All rows are points of no element.
        if self._workspace is None or self._workspace.mask.shape != (size, bucket(max(width, 1))):
            self._workspace = self.evaluator.new_workspace(size, width)
            self._workspace.species[:] = -1
        return self._workspace

    def _still_complete(self, positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray) -> bool:
        """As in a `SkinList`; where there are open boundaries, the grid there does not follow the cell."""
        if self._built is None or self.skin == 0.0:
            return False
        _, old_cell, _ = self._built
        if not np.all(periodic) and not np.array_equal(cell, old_cell):
            return False
        moved, shrinkage = largest_move(self._built, positions, cell, periodic)
        return bool((self.cutoff + moved) * shrinkage <= self.cutoff + self.skin)
