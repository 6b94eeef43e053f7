"""Environments of the atoms a rank owns, among its own atoms and its ghosts, and a potential evaluated on them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from jax_models import StructureError
from jax_models.derivatives import forces as forces_of
from jax_models.neighborhood import bucket, dense_neighbors
from jaxff.systems.evaluator import Evaluator, Workspace

SKIN = 0.5
"""Å beyond the cutoff. Every neighbour in the skin is evaluated for nothing, so this is less than LAMMPS's own."""


class AtomError(StructureError):
    """`StructureError` at an atom of a rank: ``atom`` is its index there."""

    def __init__(self, atom: int, what: str):
        super().__init__(what)
        self.atom = atom


class GhostList:
    """Neighbour list of the owned atoms, kept while no pair can have come inside the cutoff unseen.

    It depends on positions and species only, so it need not know when LAMMPS rebuilds, exchanges or sorts: an atom
    that has taken another's index has moved.

    Attributes after `evaluate`:
        has_own_pair: two atoms that are both owned are within the cutoff.
    """

    def __init__(self, evaluator: Evaluator, skin: float = SKIN):
        self.evaluator = evaluator
        self.cutoff = evaluator.potential.cutoff
        self.skin = skin
        self.builds = 0
        self._built: tuple[np.ndarray, np.ndarray, int] | None = None

    def evaluate(
        self,
        positions: Float[np.ndarray, "A 3"],
        species: Int[np.ndarray, " A"],
        n_owned: int,
        forces: Float[np.ndarray, "A 3"],
        force_unit: float = 1.0,
    ) -> Float[np.ndarray, " N"]:
        """Energy of each owned atom (eV), reference energies included; adds to ``forces``, those of ghosts too.

        Args:
            positions: of A = owned and ghost atoms, in Å, owned ones first.
            species: index into the potential's elements, -1 for an atom it does not see.
            n_owned: how many atoms are this rank's own.
            forces: eV/Å times ``force_unit`` is added to them.

        Raises:
            AtomError: a position, or what the potential makes of it, is not finite.
        """
        if not self._still_complete(positions, species, n_owned):
            self._build(positions, species, n_owned)
        energies = np.zeros(len(self._centers))
        # Neighbours that are padding point one past the last atom, where this stands: beyond every cutoff.
        components = np.empty((3, len(positions) + 1))
        components[:, :-1] = positions.T
        components[:, -1] = 1e10
        self.has_own_pair = False
        for rows, workspace in self._blocks:
            self._evaluate_block(components, rows, workspace, energies)
        if not np.isfinite(energies).all() or not np.isfinite(self._gradient).all():
            bad = ~np.isfinite(energies) | ~np.isfinite(self._gradient).all(axis=(0, 2))
            raise AtomError(int(self._centers[np.argmax(bad)]), "the potential's energy or force there is not finite")
        gradient = self._gradient.transpose(1, 2, 0)
        forces += force_unit * forces_of(gradient, self._neighbors, len(positions), self._centers)
        return energies + self.evaluator.potential.reference_energies[species[self._centers]]

    def own_pair_distances(self, positions: Float[np.ndarray, "A 3"]) -> Float[np.ndarray, " P"]:
        """Distances within the cutoff between two atoms that are both owned, as of the last evaluation."""
        i, k = np.nonzero(self._own)
        r = np.linalg.norm(positions[self._neighbors[i, k]] - positions[self._centers[i]], axis=1)
        return r[r < self.cutoff]

    def _still_complete(self, positions: np.ndarray, species: np.ndarray, n_owned: int) -> bool:
        if self._built is None:
            return False
        old_positions, old_species, old_n_owned = self._built
        if n_owned != old_n_owned or not np.array_equal(species, old_species):
            return False
        moved = positions - old_positions
        # Comparing with NaN is False: positions that are not finite lead to a build, which names them.
        return bool(np.einsum("ia,ia->i", moved, moved).max(initial=0.0) <= (0.5 * self.skin) ** 2)

    def _build(self, positions: np.ndarray, species: np.ndarray, n_owned: int) -> None:
        if not np.isfinite(positions).all():
            raise AtomError(int(np.argwhere(~np.isfinite(positions))[0, 0]), "its position is not finite")
        reach = self.cutoff + self.skin
        seen = np.flatnonzero(species >= 0)
        self._centers = seen[seen < n_owned]
        own = positions[self._centers]
        if len(own):
            around = positions[seen]
            seen = seen[((around > own.min(axis=0) - reach) & (around < own.max(axis=0) + reach)).all(axis=1)]
            # A quarter of the time of a cell list over owned and ghost atoms alike: ghosts have no rows here.
            found = cKDTree(own).sparse_distance_matrix(cKDTree(positions[seen]), reach, output_type="ndarray")
            i, j = found["i"], seen[found["j"]]
            different = self._centers[i] != j
            i, j = i[different], j[different]
            order = np.argsort(i, kind="stable")
            i, j = i[order], j[order]
        else:
            i = j = np.zeros(0, int)
        neighbors, _, mask = dense_neighbors(i, j, np.zeros((len(i), 3), int), len(own))
        self._neighbors = np.where(mask, neighbors, len(positions))
        self._own = (self._neighbors > self._centers[:, None]) & (self._neighbors < n_owned)
        self._allocate(np.append(species, 0))
        self._built = positions.copy(), species.copy(), n_owned
        self.builds += 1

    def _allocate(self, species: np.ndarray) -> None:
        n_atoms, n_neighbors = self._neighbors.shape
        width, size = bucket(max(n_neighbors, 1)), self.evaluator.block_size(n_atoms)
        self._blocks = []
        for start in range(0, n_atoms, size):
            rows = slice(start, min(start + size, n_atoms))
            n = rows.stop - start
            workspace = Workspace(
                np.ones((size, width, 3), self.evaluator.dtype),
                np.zeros(size, np.int32),
                np.zeros((size, width), np.int32),
                np.zeros((size, width), bool),
            )
            workspace.species[:n] = species[self._centers[rows]]
            workspace.neighbor_species[:n, :n_neighbors] = species[self._neighbors[rows]]
            self._blocks.append((rows, workspace))
        self._gradient = np.zeros((3, n_atoms, n_neighbors))

    def _evaluate_block(self, positions: np.ndarray, rows: slice, workspace: Workspace, energies: np.ndarray) -> None:
        """Vectors in double from ``positions[3, A + 1]``, then the model; keeps its gradient in double."""
        neighbors, centers = self._neighbors[rows], self._centers[rows]
        n, width = neighbors.shape
        distance2 = np.zeros((n, width))
        for axis in range(3):
            vectors = np.take(positions[axis], neighbors)
            vectors -= positions[axis, centers, None]
            workspace.vectors[:n, :width, axis] = vectors
            vectors *= vectors
            distance2 += vectors
        if not distance2.min(initial=np.inf) > 0.0:
            k, m = np.unravel_index(np.argmin(distance2), distance2.shape)
            raise AtomError(int(centers[k]), "another atom is at the same place")
        workspace.mask[:n, :width] = distance2 < self.cutoff**2
        self.has_own_pair = self.has_own_pair or bool((workspace.mask[:n, :width] & self._own[rows]).any())
        block_energies, gradient = self.evaluator.evaluate(workspace)
        energies[rows] = block_energies[:n]
        self._gradient[:, rows] = gradient[:n, :width].transpose(2, 0, 1)
