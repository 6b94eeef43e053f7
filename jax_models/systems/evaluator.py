"""Evaluator: one potential, compiled for blocks of padded environments. Systems and LAMMPS both drive it.

A local model is evaluated in blocks of a few hundred centres, so that its temporaries stay in the processor's
cache and memory does not grow with the system; block and neighbour counts come in buckets, so a run compiles a
handful of times. An evaluator holds compiled functions only: whoever drives it owns the workspaces.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.derivatives import (
    energies_and_gradient,
    energies_gradient_and_more,
    members_energies_and_gradients,
)
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood, bucket
from jax_models.precision import compute_type, model_in
from jax_models.systems.system import ForceField, check_process
from jax_models.uncertainty import Uncertainty

CPU_BLOCK = 256
"""Centres a block on a CPU: measured flat between 64 and 512, and 256 amortises the call."""
GPU_BLOCK = 65536
WASTE = 1.15
"""Padding that is tolerated before a better block size is compiled."""


@dataclass
class Workspace:
    """Arrays that are filled before an evaluation: B centres, K neighbours, reused from step to step."""

    vectors: Float[np.ndarray, "B K 3"]
    """r_j - r_i in Å, of the compute type."""
    species: Int[np.ndarray, " B"]
    """int32."""
    neighbor_species: Int[np.ndarray, "B K"]
    """int32."""
    mask: Bool[np.ndarray, "B K"]
    """False for padding."""


class Evaluator:
    """Energies and gradients of a potential for blocks of environments.

    Args:
        potential: what to evaluate.
        precision: "single" or "double".
        device: "cpu", "gpu" or "auto" (a GPU where JAX has one), or one of JAX's devices.

    Raises:
        ConfigError: unknown precision or device, or a device that is not there.
        JaxffError: in a process that was forked after JAX had been used.
    """

    cpu_block: ClassVar[int] = CPU_BLOCK

    def __init__(self, potential: ForceField, precision: str = "single", device: str | jax.Device = "auto"):
        check_process()
        self.potential = potential
        self.dtype = compute_type(precision)
        self.device = local_devices(device)[0] if isinstance(device, str) else device
        self._double = precision == "double"
        self._function: Any = compiled(potential.model)
        uncertainty = potential.uncertainty
        self._graded: Any = uncertainty and compiled_with_grade(potential.model, uncertainty)
        self._members: Any = uncertainty and compiled_members(potential.model, uncertainty)

    @property
    def largest_block(self) -> int:
        """Centres that a block has at most."""
        return self.cpu_block if self.device.platform == "cpu" else GPU_BLOCK

    @property
    def compilations(self) -> int:
        """Shapes compiled so far."""
        functions = (self._function, self._graded, self._members)
        return sum(function._cache_size() for function in functions if function is not None)

    def new_workspace(self, block: int, n_neighbors: int) -> Workspace:
        """A workspace of its own for the caller, all padding, with room for ``n_neighbors`` or a few more."""
        width = bucket(max(n_neighbors, 1))
        return Workspace(
            np.ones((block, width, 3), self.dtype),
            np.zeros(block, np.int32),
            np.zeros((block, width), np.int32),
            np.zeros((block, width), bool),
        )

    def run(self, workspace: Workspace) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B K 3"]]:
        """Energies (eV, without reference energies) and dE/dvectors (eV/Å), in the compute type.

        Rows and neighbours that are left as padding have zero gradient; their energies mean nothing.
        """
        return self._run(self._function, workspace)

    def run_graded(
        self, workspace: Workspace
    ) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B K 3"], Float[np.ndarray, " B"]]:
        """As `run`, and the extrapolation grade of each row; only of potentials with an uncertainty."""
        return self._run(self._graded, workspace)

    def run_members(self, workspace: Workspace) -> tuple[Float[np.ndarray, "M B"], Float[np.ndarray, "M B K 3"]]:
        """As `run`, by each member; only of potentials with an uncertainty."""
        return self._run(self._members, workspace)

    def _run(self, function: Any, workspace: Workspace) -> Any:
        with jax.enable_x64(self._double), jax.default_device(self.device):
            found = function(workspace.vectors, workspace.species, workspace.neighbor_species, workspace.mask)
        return tuple(map(np.asarray, found))


class BlockSize:
    """How many centres to put in one block. Keeps its last answer while that wastes little.

    Args:
        evaluator: that will run the blocks.
    """

    def __init__(self, evaluator: Evaluator):
        self.evaluator = evaluator
        self._size = 0

    def __call__(self, n_centers: int) -> int:
        """Rows of each block when ``n_centers`` are to be evaluated."""
        n_centers = max(n_centers, 1)
        largest = self.evaluator.largest_block
        n_blocks = math.ceil(n_centers / largest)
        if 0 < self._size <= largest:
            kept = math.ceil(n_centers / self._size)
            padded = kept * self._size
            little_waste = padded <= WASTE * n_centers or (self._size <= 32 and padded == self._size)
            # A block left from a much smaller system would cost a call for every few centres.
            if little_waste and kept <= 2 * n_blocks:
                return self._size
        self._size = bucket(math.ceil(n_centers / n_blocks), min(largest, 16))
        return self._size


def compiled(model: eqx.Module) -> Callable[..., tuple[Any, Any]]:
    """A jitted ``f(vectors, species, neighbor_species, mask, neighbors=None) -> (energies, dE/dvectors)`` of float32
    or float64; message-passing models need ``neighbors``."""

    def jaxff_energy_and_gradient(vectors, species, neighbor_species, mask, neighbors=None):
        neighborhood = Neighborhood(vectors, species, neighbor_species, mask, neighbors)
        return energies_and_gradient(model_in(model, vectors.dtype).energies, neighborhood)

    return jax.jit(jaxff_energy_and_gradient)


def compiled_with_grade(model: eqx.Module, uncertainty: Uncertainty) -> Callable[..., tuple[Any, Any, Any]]:
    """As `compiled`, with the extrapolation grade of each centre as third result."""

    def jaxff_energy_gradient_and_grade(vectors, species, neighbor_species, mask, neighbors=None):
        neighborhood = Neighborhood(vectors, species, neighbor_species, mask, neighbors)
        function = model_in(model, vectors.dtype).energies_and_features
        energies, gradient, features = energies_gradient_and_more(function, neighborhood)
        return energies, gradient, model_in(uncertainty, vectors.dtype).grade(features, species)

    return jax.jit(jaxff_energy_gradient_and_grade)


def compiled_members(model: eqx.Module, uncertainty: Uncertainty) -> Callable[..., tuple[Any, Any]]:
    """As `compiled`, by each member of the uncertainty."""

    def jaxff_members(vectors, species, neighbor_species, mask, neighbors=None):
        neighborhood = Neighborhood(vectors, species, neighbor_species, mask, neighbors)
        energies = functools.partial(
            model_in(uncertainty, vectors.dtype).members_energies, model_in(model, vectors.dtype)
        )
        return members_energies_and_gradients(energies, neighborhood)

    return jax.jit(jaxff_members)


def local_devices(name: str) -> list[jax.Device]:
    """JAX's devices in this process for "cpu", "gpu", or "auto" (GPUs where there are any).

    Raises:
        ConfigError: unknown name, or no such device.
    """
    if name not in ("auto", "cpu", "gpu"):
        raise ConfigError(f"device is {name!r}; it must be cpu, gpu or auto")
    try:
        return jax.local_devices(backend=None if name == "auto" else name)
    except RuntimeError as error:
        raise ConfigError(f"device {name} was asked for, but JAX finds none here: {error}") from None
