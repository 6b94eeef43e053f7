"""How C++ evaluates a potential: what it declares, and what C++ calls then.

`strategy_for` is the one place that maps a potential to a strategy. Each open potential has a strategy of its own, with
its own workspaces and grid, and shares compiled functions with those opened from the same file: what one simulation
evaluates does not depend on another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jax_models.neighborhood import bucket
from jax_models.reference_points.grid_hysteresis import kept_counts
from jax_models.reference_points.grid_list import grid_steps
from jax_models.systems import system_for
from jax_models.systems.evaluator import BlockSize
from jaxff.lammps.pair_jaxff import abi
from jaxff.lammps.pair_jaxff.layered_run import LayeredRun

if TYPE_CHECKING:
    from jax_models import Potential
    from jax_models.systems import Result
    from jax_models.systems.evaluator import Workspace


class Blocks:
    """One block of atoms after another.

    Attributes:
        code: the strategy's number in abi.h.
        message_columns: numbers that an atom sends at most before a layer.
    """

    code = abi.LOCAL
    rows = "atoms"
    message_columns = 0

    def __init__(self, evaluator: Any):
        self.evaluator = evaluator
        self.block_rows = BlockSize(evaluator)
        self._workspaces: list[Workspace] = []
        self._index: dict[tuple[int, int], int] = {}

    @property
    def potential(self) -> Potential:
        return self.evaluator.potential

    @property
    def reach(self) -> str:
        """For the banner: how far the potential sees."""
        return f"cutoff {self.potential.cutoff:g} Å"

    @property
    def extent(self) -> str:
        """For the banner: what is evaluated at a time."""
        return f"blocks of up to {self.evaluator.largest_block} {self.rows}"

    @property
    def compilations(self) -> int:
        return self.evaluator.compilations

    def workspace(self, rows: int, n_neighbors: int) -> tuple[int, Workspace]:
        """The workspace for ``rows`` rows with up to ``n_neighbors`` neighbours, and its number."""
        key = rows, bucket(max(n_neighbors, 1), 4)
        if key not in self._index:
            self._index[key] = len(self._workspaces)
            self._workspaces.append(self.evaluator.new_workspace(*key))
        return self._index[key], self._workspaces[self._index[key]]

    def run_workspace(self, index: int, graded: bool) -> tuple[np.ndarray, ...]:
        """Energies [B] and dE/dvectors [B, K, 3] of a workspace that C++ has filled; and the grade [B], where it is
        wanted."""
        run = self.evaluator.run_graded if graded else self.evaluator.run
        return run(self._workspaces[index])


class Grid(Blocks):
    """One block of grid points after another; the number of points is this simulation's, kept while it suits."""

    code = abi.GRID
    rows = "points"

    def __init__(self, evaluator: Any):
        super().__init__(evaluator)
        self._counts: tuple[int, int, int] | None = None

    @property
    def reach(self) -> str:
        return f"{super().reach}, a grid of {self.potential.contract.spacing:g} Å"

    def grid(self, cell: np.ndarray, periodic: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors between points (Å, rows) and numbers of points along the cell vectors."""
        spacing = self.potential.contract.spacing
        steps, fresh = grid_steps(cell, periodic, spacing)
        self._counts = kept_counts(self._counts, fresh, np.linalg.norm(cell, axis=1), spacing)
        if self._counts == tuple(fresh):
            return steps, fresh
        return grid_steps(cell, periodic, spacing, np.array(self._counts))


class Layers(Blocks):
    """Blocks of atoms layer by layer, with messages exchanged in between."""

    code = abi.LAYERS

    def __init__(self, evaluator: Any):
        super().__init__(evaluator)
        self.message_columns = max(self.evaluator.message_widths, default=0)
        self.run = LayeredRun(self.evaluator)


class WholeCell:
    """All atoms at once."""

    code = abi.CELL
    message_columns = 0
    reach = ""
    extent = "the whole cell at once"

    def __init__(self, evaluator: Any):
        self.evaluator = evaluator
        # Keeps its grid from structure to structure: one system for each simulation.
        self._system = system_for(evaluator.potential, evaluator=evaluator)

    @property
    def potential(self) -> Potential:
        return self.evaluator.potential

    @property
    def compilations(self) -> int:
        return self.evaluator.compilations

    def evaluate_cell(self, positions, cell, periodic, species) -> Result:
        """Of all atoms at once, reference energies included."""
        return self._system.evaluate(positions, cell, periodic, species)


Strategy = Blocks | Grid | Layers | WholeCell
STRATEGIES: dict[str, type[Strategy]] = {"atoms": Blocks, "grid": Grid, "layers": Layers, "cell": WholeCell}
"""By `Contract.system`."""


def strategy_for(evaluator: Any) -> Strategy:
    """A strategy of its own for one ``pair_coeff`` line."""
    return STRATEGIES[evaluator.potential.contract.system](evaluator)
