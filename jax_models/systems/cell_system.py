"""Systems of potentials that see the whole cell at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.precision import compute_type, model_in
from jax_models.reference_points.grid_hysteresis import kept_counts
from jax_models.systems.evaluator import local_devices
from jax_models.systems.result import Result
from jax_models.systems.system import ForceField, System, check_process
from jax_models.whole_cell import Derivatives, GridSize, enclosing_cell, evaluate_cell, padded


class CellEvaluator:
    """A potential of whole cells, compiled; systems share it.

    Args:
        potential: of kind "global".
        precision: "single" or "double".
        device: "cpu", "gpu" or "auto", or one of JAX's devices.

    Raises:
        ConfigError: unknown precision or device, or a device that is not there.
        JaxffError: in a process that was forked after JAX had been used.
    """

    def __init__(self, potential: ForceField, precision: str = "single", device: str | jax.Device = "auto"):
        check_process()
        self.potential = potential
        self.dtype = compute_type(precision)
        self.device = local_devices(device)[0] if isinstance(device, str) else device
        with jax.enable_x64(self.dtype is np.float64):
            self._model = model_in(potential.model, self.dtype)
        self._shapes: set[tuple[Any, ...]] = set()

    @property
    def compilations(self) -> int:
        """Shapes met so far."""
        return len(self._shapes)

    def run(
        self,
        positions: Float[np.ndarray, "N 3"],
        box: Float[np.ndarray, "3 3"],
        species: Int[np.ndarray, " N"],
        grid: GridSize,
    ) -> Derivatives:
        """Energy (eV, without reference energies), forces and virial of one cell, periodic along all its vectors."""
        arguments = padded(positions, box, species, self.dtype)
        self._shapes.add((len(arguments[0]), grid))
        with jax.enable_x64(self.dtype is np.float64), jax.default_device(self.device):
            return evaluate_cell(self._model, arguments, grid, len(positions))


class CellSystem(System):
    """Evaluates a potential of whole cells, whose energy is shared evenly among the atoms.

    The grid is kept from one structure to the next while it is neither too coarse nor much too fine (see
    `grid_hysteresis`): a change is a small step in the energy, and a compilation.

    Args:
        evaluator: of the potential.
        skin: without meaning here; every kind of System takes one.
    """

    def __init__(self, evaluator: Any, skin: float = 0.0):
        super().__init__(evaluator.potential)
        self.evaluator = evaluator
        self._grid: GridSize | None = None
        self._order: list[int] = [0, 1, 2]
        self._species = np.zeros(0, np.int32)

    def _evaluate(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        periodic: Bool[np.ndarray, " 3"],
        species: Int[np.ndarray, " N"],
        outputs: Collection[str],
    ) -> Result:
        n = len(positions)
        if n == 0:
            return Result(np.zeros(0), np.zeros((0, 3)), np.zeros((3, 3)))
        if not np.array_equal(species, self._species):  # another structure, with a grid of its own
            self.start_anew()
            self._species = species.copy()
        box, grid = self._box_and_grid(positions, cell, periodic)
        found = self.evaluator.run(positions, box, species, grid)
        return Result(np.full(n, found.energy / n), found.forces, found.virial)

    def start_anew(self) -> None:
        self._grid = None

    def _box_and_grid(
        self, positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray
    ) -> tuple[Float[np.ndarray, "3 3"], GridSize]:
        """The cell, its vectors in the order in which they came when the grid was chosen, and the grid."""
        model: Any = self.potential.model
        if self._grid is not None:
            box = enclosing_cell(positions, cell, periodic, model.reach, self._order)
            lengths = np.linalg.norm(box, axis=1).tolist()
            if kept_counts(self._grid, model.grid_for(box), lengths, model.grid_spacing) == self._grid:
                return box, self._grid
        boxes = enclosing_cell(positions, cell, periodic, model.reach, range(3))
        self._order = np.argsort(-np.linalg.norm(boxes, axis=1), kind="stable").tolist()
        box = boxes[self._order]
        self._grid = model.grid_for(box)
        return box, self._grid
