"""Systems of potentials that are sums over atoms, each seeing its neighbours."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.contract import GRADED, SPREADS
from jax_models.derivatives import atomic_virials, forces, virial
from jax_models.errors import StructureError
from jax_models.neighborhood import bucket
from jax_models.systems.evaluator import BlockSize, Workspace
from jax_models.systems.result import Result
from jax_models.systems.skin_list import SkinList
from jax_models.systems.system import System
from jax_models.uncertainty import reach

SPARE = 1.25
"""Room for neighbours, over what is needed, that is kept from an earlier structure."""

BlockResult = tuple[Any, ...]
"""Rows, energies [B], dE/dvectors [B, K, 3], and the grade [B] where it is wanted."""


class AtomsSystem(System):
    """Evaluates a local potential, one block of atoms after another.

    Args:
        evaluator: of the potential.
        skin: Å beyond the cutoff to which the neighbour list reaches.
    """

    def __init__(self, evaluator: Any, skin: float):
        super().__init__(evaluator.potential)
        self.evaluator = evaluator
        self.list = SkinList(self.potential.contract.cutoff, skin)
        self._block_size = BlockSize(evaluator)
        self._width = 0
        self._blocks: list[tuple[slice, Any]] = []
        self._blocks_of: tuple[int, np.ndarray] = 0, np.zeros(0, np.int32)

    @property
    def builds(self) -> int:  # type: ignore[override]
        return self.list.builds

    def _evaluate(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        periodic: Bool[np.ndarray, " 3"],
        species: Int[np.ndarray, " N"],
        outputs: Collection[str],
    ) -> Result:
        self.list.update(positions, cell, periodic)
        build, of_blocks = self._blocks_of
        if build != self.list.builds or not np.array_equal(species, of_blocks):
            self._allocate(species)
            self._blocks_of = self.list.builds, species.copy()
        energies = np.empty(len(positions))
        grades = np.empty(len(positions)) if set(GRADED).intersection(outputs) else None
        for rows, block_energies, gradient, *grade in self._results(positions, grades is not None):
            _, n, width = self._gradient[:, rows].shape
            energies[rows] = block_energies[:n]
            if grades is not None:
                grades[rows] = grade[0][:n]
            # Component first, for the sums in double.
            self._gradient[:, rows] = gradient[:n, :width].transpose(2, 0, 1)
        vectors, gradient = self._vectors.transpose(1, 2, 0), self._gradient.transpose(1, 2, 0)
        by_atom = atomic_virials(vectors, gradient) if "virials" in outputs else None
        on_atoms = forces(gradient, self.list.neighbors, len(positions))
        more = self._spreads(len(positions)) if set(SPREADS).intersection(outputs) else {}
        uncertainty = self.potential.uncertainty
        if grades is not None and uncertainty is not None:
            near = (self._vectors**2).sum(axis=0) < self.list.cutoff**2
            reached = reach(grades, self.list.neighbors, near)
            more |= dict(zip(GRADED, (grades, uncertainty.expected_error(reached, on_atoms)), strict=True))
        return Result(energies, on_atoms, virial(vectors, gradient), by_atom, more)

    def start_anew(self) -> None:
        """Nothing to do: a list that is kept is complete, and changes no result."""

    def _results(self, positions: Float[np.ndarray, "N 3"], graded: bool) -> Iterator[BlockResult]:
        """Rows, energies and gradient of each block; and the grade, where it is wanted."""
        run = self.evaluator.run_graded if graded else self.evaluator.run
        for rows, workspace in self._blocks:
            self._fill(positions, rows, workspace)
            yield rows, *run(workspace)

    def _spreads(self, n_atoms: int) -> dict[str, np.ndarray]:
        """Standard deviations over the members, of workspaces that are filled."""
        uncertainty: Any = self.potential.uncertainty
        energies, on_atoms, virials = 0.0, [], []
        blocks = [(rows, *self.evaluator.run_members(workspace)) for rows, workspace in self._filled()]
        for rows, member_energies, gradients in blocks:
            n, width = self._vectors[0, rows].shape
            energies = energies + member_energies[:, :n].sum(axis=1, dtype=float)
            vectors, gradients = self._vectors[:, rows].transpose(1, 2, 0), gradients[:, :n, :width].astype(float)
            of = self.list.neighbors[rows], n_atoms, rows
            on_atoms.append(np.array([forces(gradient, *of) for gradient in gradients]))
            virials.append(np.array([virial(vectors, gradient) for gradient in gradients]))
        members = energies, sum(on_atoms), sum(virials)
        return {
            name: float(uncertainty.spread) * np.std(of_members, axis=0, ddof=1)
            for name, of_members in zip(SPREADS, members, strict=True)
        }

    def _filled(self) -> list[tuple[slice, Any]]:
        """Rows and filled workspaces that members are evaluated on."""
        return self._blocks

    def _allocate(self, species: Int[np.ndarray, " N"]) -> None:
        self._blocks_of = -1, species  # an error from here on leaves no blocks, rather than half of them
        n_atoms, n_neighbors = self.list.neighbors.shape
        size = self._block_size(n_atoms)
        # Somewhat too wide costs less than compiling anew: structures one after another differ by a few neighbours.
        if not n_neighbors <= self._width <= SPARE * n_neighbors or not self._width:
            self._width = bucket(max(n_neighbors, 1))
        neighbor_species = species[self.list.neighbors]
        blocks = []
        for start in range(0, n_atoms, size):
            rows = slice(start, min(start + size, n_atoms))
            workspace = self.evaluator.new_workspace(size, self._width)
            workspace.species[: rows.stop - start] = species[rows]
            workspace.neighbor_species[: rows.stop - start, :n_neighbors] = neighbor_species[rows]
            blocks.append((rows, workspace))
        self._blocks = blocks
        self._vectors = np.empty((3, n_atoms, n_neighbors))
        self._gradient = np.empty((3, n_atoms, n_neighbors))

    def _fill(self, positions: Float[np.ndarray, "N 3"], rows: slice, workspace: Workspace) -> None:
        """Vectors, formed in double, and the mask of those within the cutoff."""
        n, width = self._vectors[0, rows].shape
        neighbors = self.list.neighbors[rows]
        vectors = self._vectors[:, rows]
        distance2 = np.zeros((n, width))
        for axis in range(3):
            component = positions[:, axis]
            np.take(component, neighbors, out=vectors[axis])
            vectors[axis] -= component[rows, None]
            vectors[axis] += self.list.offsets[axis, rows]
            distance2 += vectors[axis] ** 2
        mask = distance2 < self.list.cutoff**2
        if width and not distance2.min() > 0.0:
            k, m = np.unravel_index(np.argmin(distance2), distance2.shape)
            i, j = rows.start + int(k), int(neighbors[k, m])
            raise StructureError(f"atoms {min(i, j)} and {max(i, j)} are at the same place; move or remove one of them")
        workspace.mask[:n, :width] = mask
        workspace.vectors[:n, :width] = vectors.transpose(1, 2, 0)

    def _explain_not_finite(self, atom: int) -> str:
        distance2 = (self._vectors[:, atom] ** 2).sum(axis=0)
        near = np.where(distance2 > 0, distance2, np.inf)
        text = f"the energy or force of atom {atom} is not finite"
        if near.size and np.isfinite(near.min()):
            k = int(np.argmin(near))
            text += f"; its nearest neighbour is atom {self.list.neighbors[atom, k]}, {np.sqrt(near[k]):.3g} Å away"
        return text
