"""Evaluator: one potential, compiled for blocks of padded environments. ASE and LAMMPS both drive this.

A local model is evaluated in blocks of a few hundred centres, so that its temporaries stay in the processor's
cache and memory does not grow with the system; block and neighbour counts come in buckets, so a run compiles a
handful of times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jax_models import ConfigError, Potential
from jax_models.neighborhood import bucket

if TYPE_CHECKING:
    import jax

    from jaxff.systems.cell_system import WholeCellEvaluator

CPU_BLOCK = 256
"""Centres a block on a CPU: measured flat between 64 and 512, and 256 amortises the call."""
GPU_BLOCK = 65536
WASTE = 1.15
"""Padding that is tolerated before a better block size is compiled."""


@dataclass
class Workspace:
    """Arrays an engine fills before `Evaluator.evaluate`: B centres, K neighbours, reused from step to step."""

    vectors: np.ndarray
    """[B, K, 3] r_j - r_i in Å, of the compute type."""
    species: np.ndarray
    """[B] int32."""
    neighbor_species: np.ndarray
    """[B, K] int32."""
    mask: np.ndarray
    """[B, K] bool; the engine sets it False for padding."""


class Evaluator:
    """Energies and gradients of a potential for blocks of environments.

    Args:
        potential: what to evaluate.
        precision: "single" or "double".
        device: "cpu", "gpu" or "auto" (a GPU where JAX has one), or one of JAX's devices.

    Raises:
        ConfigError: unknown precision or device, or a device that is not there.
    """

    cpu_block: ClassVar[int] = CPU_BLOCK

    def __init__(self, potential: Potential, precision: str = "single", device: str | jax.Device = "auto"):
        import jax

        self.potential = potential
        self.dtype = compute_type(precision)
        self.device = local_devices(device)[0] if isinstance(device, str) else device
        self.compilations = 0
        self._double = precision == "double"
        self._function = potential.compiled()
        self._workspaces: dict[tuple[int, int], Workspace] = {}
        self._block = 0
        self._jax = jax

    @property
    def largest_block(self) -> int:
        """Centres that a block has at most."""
        return self.cpu_block if self.device.platform == "cpu" else GPU_BLOCK

    def block_size(self, n_centers: int) -> int:
        """Centres to put in one workspace when ``n_centers`` are to be evaluated. Keeps its last answer while
        that wastes little."""
        largest = self.largest_block
        n_centers = max(n_centers, 1)
        n_blocks = math.ceil(n_centers / largest)
        if self._block and self._block <= largest:
            kept = math.ceil(n_centers / self._block)
            padded = kept * self._block
            little_waste = padded <= WASTE * n_centers or (self._block <= 32 and padded == self._block)
            # A block left from a much smaller system would cost a call for every few centres.
            if little_waste and kept <= 2 * n_blocks:
                return self._block
        self._block = bucket(math.ceil(n_centers / n_blocks), 16)
        return self._block

    def workspace(self, block: int, n_neighbors: int) -> Workspace:
        """The workspace with ``block`` rows and room for ``n_neighbors``; the same object for the same bucket."""
        key = (block, bucket(max(n_neighbors, 1), 4))
        if key not in self._workspaces:
            self._workspaces[key] = self.new_workspace(*key)
        return self._workspaces[key]

    def new_workspace(self, block: int, width: int) -> Workspace:
        """A workspace of its own for the caller, all padding."""
        return Workspace(
            np.ones((block, width, 3), self.dtype),
            np.zeros(block, np.int32),
            np.zeros((block, width), np.int32),
            np.zeros((block, width), bool),
        )

    def evaluate(self, workspace: Workspace) -> tuple[np.ndarray, np.ndarray]:
        """Energies [B] (eV, without reference energies) and dE/dvectors [B, K, 3] (eV/Å), in the compute type.

        Rows and neighbours that the engine left as padding have zero gradient; their energies mean nothing.
        """
        with self._jax.enable_x64(self._double), self._jax.default_device(self.device):
            energies, gradient = self._function(
                workspace.vectors, workspace.species, workspace.neighbor_species, workspace.mask
            )
        self.compilations = self._function._cache_size()
        return np.asarray(energies), np.asarray(gradient)


def evaluator_for(
    potential: Potential, precision: str = "single", device: str | jax.Device = "auto"
) -> Evaluator | WholeCellEvaluator:
    """The evaluator that suits the potential: one block after another, layer by layer, or the whole cell."""
    if potential.contract.kind == "global":
        from jaxff.systems.cell_system import WholeCellEvaluator

        return WholeCellEvaluator(potential, precision, device)
    if potential.contract.kind == "message_passing":
        from jaxff.systems.layered_evaluator import LayeredEvaluator

        return LayeredEvaluator(potential, precision, device)
    return Evaluator(potential, precision, device)


def compute_type(precision: str) -> type:
    """NumPy's type for "single" or "double".

    Raises:
        ConfigError: another word.
    """
    if precision not in ("single", "double"):
        raise ConfigError(f"precision is {precision!r}; it must be single or double")
    return np.float32 if precision == "single" else np.float64


def local_devices(name: str) -> list[jax.Device]:
    """JAX's devices in this process for "cpu", "gpu", or "auto" (GPUs where there are any).

    Raises:
        ConfigError: unknown name, or no such device.
    """
    import jax

    if name not in ("auto", "cpu", "gpu"):
        raise ConfigError(f"device is {name!r}; it must be cpu, gpu or auto")
    try:
        return jax.local_devices(backend=None if name == "auto" else name)
    except RuntimeError as error:
        raise ConfigError(f"device {name} was asked for, but JAX finds none here: {error}") from None
