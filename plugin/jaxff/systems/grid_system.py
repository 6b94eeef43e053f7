"""A system seen from the points of a grid: its points, the blocks they are evaluated in, and the sums over them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.derivatives import point_sums
from jax_models.errors import StructureError
from jax_models.neighborhood import Neighborhood, bucket
from jax_models.reference_points.grid_list import GridPoints, grid_points, grid_steps
from jaxff.systems.evaluator import Evaluator
from jaxff.systems.skin_list import largest_move


class GridSystem:
    """Evaluates structures one after another; the list of points is kept while no atom can have come into view unseen.

    Args:
        evaluator: of a potential whose contract says ``centers`` "grid".
        skin: Å beyond the cutoff to which the list reaches.
    """

    def __init__(self, evaluator: Evaluator, skin: float):
        self.evaluator = evaluator
        self.cutoff = evaluator.potential.cutoff
        self.skin = skin
        self.builds = 0
        self._points: GridPoints | None = None
        self._built: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def evaluate(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        periodic: Bool[np.ndarray, " 3"],
        species: Int[np.ndarray, " N"],
    ) -> dict[str, np.ndarray]:
        """``energies[N]`` (eV, without reference energies), ``forces[N, 3]`` and ``virials[N, 3, 3]``.

        Raises:
            StructureError: positions, cell or what the potential makes of them are not finite.
        """
        steps, counts = grid_steps(cell, periodic, self.evaluator.potential.contract.spacing)
        if not self._still_complete(positions, cell, periodic, counts):
            spacing = self.evaluator.potential.contract.spacing
            self._points = grid_points(positions, cell, periodic, spacing, self.cutoff + self.skin)
            self._built = positions.copy(), cell.copy(), periodic.copy()
            self._counts = counts
            self.builds += 1
        listed = self._points
        images = positions[listed.atoms] + listed.shifts @ cell
        # Padding, -1, points at one image more that stands beyond every cutoff.
        components = [np.append(images[:, axis], 1e10) for axis in range(3)]
        atom_of_image, points = np.append(listed.atoms, 0), listed.indices @ steps
        weight = abs(float(np.linalg.det(steps)))
        n_points, width = listed.neighbors.shape
        size = self.evaluator.block_size(n_points)
        workspace = self.evaluator.workspace(size, bucket(width))
        totals = {
            "energies": np.zeros(len(species)),
            "forces": np.zeros((len(species), 3)),
            "virials": np.zeros((len(species), 3, 3)),
        }
        for start in range(0, n_points, size):
            rows = slice(start, min(start + size, n_points))
            n, images_seen = rows.stop - start, listed.neighbors[rows]
            vectors = np.stack([components[a][images_seen] - points[rows, a, None] for a in range(3)], axis=-1)
            mask = np.einsum("nka,nka->nk", vectors, vectors) < self.cutoff**2
            atoms = atom_of_image[images_seen]
            vectors[~mask] = 1.0
            workspace.species[:] = -1
            workspace.vectors[:n, :width], workspace.neighbor_species[:n, :width] = vectors, species[atoms]
            workspace.mask[:] = False
            workspace.mask[:n, :width] = mask
            density, gradient = self.evaluator.evaluate(workspace)
            nb = Neighborhood(vectors, workspace.species[:n], species[atoms], mask, atoms)
            found = point_sums(nb, weight, density[:n], gradient[:n, :width], self.cutoff, len(species))
            for name, total in totals.items():
                total += found[name]
        for name in ("energies", "forces"):
            if not np.isfinite(totals[name]).all():
                atom = int(np.argwhere(~np.isfinite(totals[name]))[0, 0])
                raise StructureError(f"the energy or force of atom {atom}, or of the space around it, is not finite")
        return totals

    def _still_complete(self, positions, cell, periodic, counts) -> bool:
        """As in a `SkinList`; where there are open boundaries, the grid there does not follow the cell."""
        if self._built is None or self.skin == 0.0 or not np.array_equal(counts, self._counts):
            return False
        _, old_cell, _ = self._built
        if not np.all(periodic) and not np.array_equal(cell, old_cell):
            return False
        moved, shrinkage = largest_move(self._built, positions, cell, periodic)
        return bool((self.cutoff + moved) * shrinkage <= self.cutoff + self.skin)
