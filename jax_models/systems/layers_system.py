"""Systems of message-passing potentials: all blocks go through a layer before any goes through the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jax_models.neighborhood import bucket
from jax_models.systems.atoms_system import AtomsSystem, BlockResult
from jax_models.systems.layered_evaluator import MessageRows


class LayersSystem(AtomsSystem):
    """Evaluates a message-passing potential. Periodic images are folded to the atoms themselves, so that messages need
    not be moved between layers.

    Args:
        evaluator: of the potential.
        skin: Å beyond the cutoff to which the neighbour list reaches.
    """

    def __init__(self, evaluator: Any, skin: float):
        super().__init__(evaluator, skin)
        self._message_rows = MessageRows()

    def _allocate(self, species: Int[np.ndarray, " N"]) -> None:
        super()._allocate(species)
        n_atoms, n_neighbors = self.list.neighbors.shape
        for rows, workspace in self._blocks:
            n = rows.stop - rows.start
            workspace.neighbors[:n, :n_neighbors] = self.list.neighbors[rows]
            workspace.centers[:n] = np.arange(n_atoms, dtype=np.int32)[rows]
            workspace.weights[:n] = 1.0

    def _results(self, positions: Float[np.ndarray, "N 3"], graded: bool) -> Iterator[BlockResult]:
        for rows, workspace in self._blocks:
            self._fill(positions, rows, workspace)
        workspaces = [workspace for _, workspace in self._blocks]
        results = self.evaluator.run_all(workspaces, self._message_rows(len(positions)), graded)
        for (rows, _), result in zip(self._blocks, results, strict=True):
            yield rows, *result

    def _filled(self) -> list[tuple[slice, Any]]:
        # Members pass their messages among all atoms: all of them in one workspace.
        n_atoms = len(self.list.neighbors)
        workspace = self.evaluator.new_workspace(bucket(n_atoms, 16), self._width)
        for rows, block in self._blocks:
            n = rows.stop - rows.start
            for name in ("vectors", "species", "neighbor_species", "mask", "neighbors"):
                getattr(workspace, name)[rows] = getattr(block, name)[:n]
        return [(slice(0, n_atoms), workspace)]
