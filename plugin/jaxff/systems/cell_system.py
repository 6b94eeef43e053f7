"""Potentials that see the whole cell at once, evaluated for ASE and LAMMPS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models import Potential, StructureError
from jax_models.whole_cell import enclosing_cell, evaluate_cell, padded
from jaxff.systems.evaluator import compute_type, local_devices

if TYPE_CHECKING:
    import jax

SLACK = 1.05
"""How much coarser than asked for a grid may become before it is changed: a change is a small step in the energy, which
neither a relaxation nor finite strains should meet."""
WASTE = 1.4
"""And how much finer, along each vector."""


class WholeCellEvaluator:
    """Energy, forces and virial of whole cells, one after another.

    The grid is kept from one structure to the next while it is neither too coarse nor much too fine: the energy of a
    structure depends on those before it by the grid's tolerance, and a cell that breathes is compiled once.

    Args:
        potential: of kind "global".
        precision: "single" or "double".
        device: "cpu", "gpu" or "auto", or one of JAX's devices.

    Raises:
        ConfigError: unknown precision or device, or a device that is not there.
    """

    def __init__(self, potential: Potential, precision: str = "single", device: str | jax.Device = "auto"):
        import jax

        self.potential = potential
        self.dtype = compute_type(precision)
        self.device = local_devices(device)[0] if isinstance(device, str) else device
        with jax.enable_x64(self.dtype is np.float64):
            self._model = potential.model_in(self.dtype)
        self._grid: tuple[int, int, int] | None = None
        self._shapes: set[tuple[Any, ...]] = set()

    @property
    def compilations(self) -> int:
        """Shapes met so far."""
        return len(self._shapes)

    def evaluate(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        periodic: Bool[np.ndarray, " 3"],
        species: Int[np.ndarray, " N"],
    ) -> dict[str, Any]:
        """``energy`` (eV, without reference energies), ``forces[N, 3]`` (eV/Å) and ``virial[3, 3]`` = dE/dstrain (eV).

        Raises:
            StructureError: positions or cell that are not finite, a periodic cell without volume, or an energy that is
                not finite.
        """
        if len(positions) == 0:
            return {"energy": 0.0, "forces": np.zeros((0, 3)), "virial": np.zeros((3, 3))}
        import jax

        box = enclosing_cell(positions, cell, periodic, self.potential.model.reach)
        grid = self._grid_for(box)
        arguments = padded(positions, box, species, self.dtype)
        self._shapes.add((len(arguments[0]), grid))
        with jax.enable_x64(self.dtype is np.float64), jax.default_device(self.device):
            found = evaluate_cell(self._model, arguments, grid, len(positions))
        if not (np.isfinite(found["energy"]) and np.isfinite(found["forces"]).all()):
            raise StructureError("the energy or the forces of this structure are not finite numbers")
        return found

    def _grid_for(self, box: Float[np.ndarray, "3 3"]) -> tuple[int, int, int]:
        model, grid = self.potential.model, self._grid
        fresh = model.grid_for(box)
        if grid is not None:
            fine = (SLACK * np.array(grid) * model.grid_spacing >= np.linalg.norm(box, axis=1)).all()
            if fine and (np.array(grid) <= WASTE * np.array(fresh)).all():
                return grid
        self._grid = fresh
        return fresh
