"""Which evaluator and which System belong to a potential: one line a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jax_models.systems.atoms_system import AtomsSystem
from jax_models.systems.cell_system import CellEvaluator, CellSystem
from jax_models.systems.evaluator import Evaluator
from jax_models.systems.grid_system import GridSystem
from jax_models.systems.layered_evaluator import LayeredEvaluator
from jax_models.systems.layers_system import LayersSystem
from jax_models.systems.system import ForceField, System

if TYPE_CHECKING:
    import jax

KINDS: dict[str, tuple[Any, Any]] = {
    "atoms": (Evaluator, AtomsSystem),
    "layers": (LayeredEvaluator, LayersSystem),
    "grid": (Evaluator, GridSystem),
    "cell": (CellEvaluator, CellSystem),
}
"""By `Contract.system`: what is compiled and shared, and the System that uses it."""

SKIN = 0.5
"""Å, of neighbour lists."""


def evaluator_for(potential: ForceField, precision: str = "single", device: str | jax.Device = "auto") -> Any:
    """The potential compiled for one precision and device; systems that are made from it share its functions.

    Raises:
        ConfigError: unknown precision or device, or a device that is not there.
    """
    return KINDS[potential.contract.system][0](potential, precision, device)


def system_for(
    potential: ForceField,
    precision: str = "single",
    device: str | jax.Device = "auto",
    skin: float = SKIN,
    evaluator: Any = None,
) -> System:
    """The `System` that suits the potential.

    Args:
        potential: what to evaluate.
        precision: "single" or "double"; vectors are formed and results summed in double either way.
        device: "cpu", "gpu" or "auto" (a GPU where JAX has one), or one of JAX's devices.
        skin: Å added to the cutoff of lists, which are kept until atoms may have crossed it; 0 builds them at every
            evaluation.
        evaluator: of this potential, to share; ``precision`` and ``device`` are then its own.

    Raises:
        ConfigError: unknown precision or device, or a device that is not there.
    """
    evaluator = evaluator or evaluator_for(potential, precision, device)
    return KINDS[potential.contract.system][1](evaluator, skin)
