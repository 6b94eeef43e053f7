"""System: a structure that changes from one evaluation to the next, and the potential that evaluates it."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Protocol

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.contract import ENERGY_AND_DERIVATIVES, Contract
from jax_models.errors import ConfigError, JaxffError, StructureError
from jax_models.neighborhood import check_finite
from jax_models.systems.result import Result
from jax_models.uncertainty import Uncertainty

_forked = False
"""Whether this process was forked from one whose JAX had started its threads."""


def _note_fork() -> None:
    # JAX's back ends start with its first computation, whoever asks for it; only then are there threads to be missed.
    global _forked
    bridge = sys.modules.get("jax._src.xla_bridge")
    _forked = _forked or bool(getattr(bridge, "_backends", None))


os.register_at_fork(after_in_child=_note_fork)


class ForceField(Protocol):
    """What is evaluated: a `jax_models.Potential`."""

    @property
    def contract(self) -> Contract: ...
    @property
    def model(self) -> eqx.Module: ...
    @property
    def reference_energies(self) -> Float[np.ndarray, " S"]: ...
    @property
    def uncertainty(self) -> Uncertainty | None: ...


def check_process() -> None:
    """Refuse to compute in a process that was forked after its parent had used JAX: XLA's threads do not survive that,
    and it would wait for them for ever.

    Raises:
        JaxffError: this is such a process.
    """
    if _forked:
        raise JaxffError(
            "this process was forked after its parent had used JAX, which does not work in it. Start "
            'processes afresh, by multiprocessing.get_context("spawn") or multiprocessing.set_start_method("spawn"), '
            "or use no calculator before the fork"
        )


class System(ABC):
    """Evaluates structures one after another, keeping what can be kept between them: neighbour lists, workspaces,
    grids.

    All of that belongs to this system alone. Only compiled functions are shared, so that systems of one potential may
    run in threads side by side.
    """

    evaluator: Any
    """The compiled functions that it shares with other systems."""

    builds: int = 0
    """How often a list of neighbours or points was built so far."""

    def __init__(self, potential: ForceField):
        self.potential = potential

    def evaluate(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        periodic: Bool[np.ndarray, " 3"] | bool,
        species: Int[np.ndarray, " N"],
        outputs: Collection[str] | None = None,
    ) -> Result:
        """Energy, forces and virial of a structure, reference energies of the elements included.

        Args:
            positions: Å; also outside of the cell.
            cell: rows a, b, c (Å); what stands along directions that are not periodic does not matter.
            periodic: along which cell vectors.
            species: index of each atom's element in the potential's list.
            outputs: names from the contract's ``outputs`` that are wanted; None means all but those of the uncertainty.
                Others may be missing from the result.

        Raises:
            StructureError: positions or cell are not finite, a periodic cell has no volume, atoms are on top of each
                other, or the energy or a force is not finite.
            ConfigError: the potential does not give one of ``outputs``.
            JaxffError: in a process that was forked after JAX had been used.
        """
        check_process()
        missing = [name for name in outputs or () if name not in self.potential.contract.outputs]
        if missing:
            raise ConfigError(
                f"this potential gives no {', '.join(missing)}; it gives {', '.join(self.potential.contract.outputs)}"
            )
        positions, cell = np.asarray(positions, float), np.asarray(cell, float)
        check_finite(positions, cell)
        periodic = np.broadcast_to(np.asarray(periodic, bool), (3,))
        result = self._evaluate(
            positions,
            cell,
            periodic,
            np.asarray(species, np.int32),
            (*ENERGY_AND_DERIVATIVES, "virials") if outputs is None else outputs,
        )
        if not (np.isfinite(result.energies).all() and np.isfinite(result.forces).all()):
            bad = ~np.isfinite(result.energies) | ~np.isfinite(result.forces).all(axis=1)
            raise StructureError(self._explain_not_finite(int(np.argmax(bad))))
        # In double, whatever the compute type: a total of -5 eV an atom would cost float32 its last digits.
        result.energies[:] += self.potential.reference_energies[species]
        return result

    @abstractmethod
    def start_anew(self) -> None:
        """Say that the next structure has nothing to do with the last one: what its evaluation gives depends on it
        alone."""

    @abstractmethod
    def _evaluate(
        self,
        positions: Float[np.ndarray, "N 3"],
        cell: Float[np.ndarray, "3 3"],
        periodic: Bool[np.ndarray, " 3"],
        species: Int[np.ndarray, " N"],
        outputs: Collection[str],
    ) -> Result:
        """As `evaluate`, without reference energies; numbers that are not finite are left to the caller."""

    def _explain_not_finite(self, atom: int) -> str:
        return f"the energy or force of atom {atom}, or of the space around it, is not finite"
