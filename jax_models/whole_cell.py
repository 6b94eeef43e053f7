"""Models of whole cells: the energy as a function of all positions and the cell, with no cutoff between atoms.

Such a model has ``energy(positions, cell, species, mask, grid)``, ``grid_for(cell)`` and ``reach``. This file makes
what it needs: a cell that is periodic along all three vectors for any structure, shapes padded to few sizes, and the
derivatives.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jax_models.descriptors.scattering_grid import GridSize
from jax_models.errors import StructureError
from jax_models.interfaces import Readout, WholeCellDescriptor
from jax_models.neighborhood import bucket, check_finite

GAP = 1.6
"""Empty space along directions that are not periodic, in units of the widest wavelet's reach. In the middle of it the
waves of both images have fallen to 1e-2 of their peaks or less, and only their squares count."""


def enclosing_cell(
    positions: Float[np.ndarray, "N 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, " 3"] | bool,
    reach: float,
    order: Sequence[int] | None = None,
) -> Float[np.ndarray, "3 3"]:
    """``cell``, with each vector that is not periodic replaced by one normal to the others, as long as the atoms and an
    empty space of ``GAP`` x ``reach`` (Å) need. Lengths come in steps of a quarter of that, so that they seldom change.
    Vectors come longest first, or in ``order``.

    Raises:
        StructureError: positions or cell are not finite, or the periodic vectors span no area or volume.
    """
    periodic = np.broadcast_to(np.asarray(periodic, bool), (3,))
    check_finite(positions, cell)
    cell = np.array(cell, float)
    normal = np.linalg.svd(cell[periodic])[2][periodic.sum() :] if periodic.any() else np.eye(3)
    for axis, direction in zip(np.flatnonzero(~periodic), normal, strict=True):
        extent = np.ptp(positions @ direction) if len(positions) else 0.0
        step = 0.25 * GAP * reach
        cell[axis] = direction * step * (4 + math.ceil(extent / step))
    lengths = np.linalg.norm(cell, axis=1)
    if not np.abs(np.linalg.det(cell)) > 1e-6 * np.prod(lengths):
        raise StructureError("the structure is periodic, but its cell has no volume")
    # Longest first: one structure has one grid, whatever the order of its cell vectors.
    return cell[np.argsort(-lengths, kind="stable") if order is None else list(order)]


def padded(
    positions: Float[np.ndarray, "N 3"], cell: Float[np.ndarray, "3 3"], species: Int[np.ndarray, " N"], dtype: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions (inside the cell), cell, species and mask, with room for a few more atoms, so that sizes near each
    other share one compilation."""
    n, size = len(positions), bucket(max(len(positions), 1), 32)
    more = np.zeros((size, 3))
    # Images far away would cost float32 its digits.
    more[:n] = (np.asarray(positions, float) @ np.linalg.inv(cell) % 1.0) @ cell
    more_species = np.pad(np.asarray(species, np.int32), (0, size - n))
    return more.astype(dtype), np.asarray(cell, dtype), more_species, np.arange(size) < n


class WholeCellModel(eqx.Module):
    """Features of a whole cell -> readout: n e(features/n) for n atoms, so that a supercell's energy is in proportion.

    The mean and scale of the features per atom are set once from training data and are not trained.
    """

    kind: ClassVar[str] = "global"
    n_layers: ClassVar[int] = 1

    descriptor: WholeCellDescriptor
    readout: Readout
    feature_mean: Float[Array, " F"]
    feature_scale: Float[Array, " F"]

    @property
    def reach(self) -> float:
        return self.descriptor.reach

    @property
    def grid_spacing(self) -> float:
        """Å between points of the grid, at most."""
        return self.descriptor.spacing

    def grid_for(self, cell: Float[np.ndarray, "3 3"]) -> GridSize:
        return self.descriptor.grid_for(cell)

    def features(self, positions, cell, species, mask, grid: GridSize) -> Float[Array, " F"]:
        """Normalised features per atom."""
        mean, scale = jax.lax.stop_gradient((self.feature_mean, self.feature_scale))
        n_atoms = jnp.maximum(jnp.sum(mask), 1).astype(positions.dtype)
        return (self.descriptor(positions, cell, species, mask, grid) / n_atoms - mean) * scale

    def energy(
        self,
        positions: Float[Array, "N 3"],
        cell: Float[Array, "3 3"],
        species: Int[Array, " N"],
        mask: Bool[Array, " N"],
        grid: GridSize,
    ) -> Float[Array, ""]:
        """eV, without reference energies."""
        per_atom = self.readout(self.features(positions, cell, species, mask, grid)[None], jnp.zeros(1, jnp.int32))[0]
        return jnp.sum(mask) * per_atom


@functools.cache
def _safe_options() -> dict[str, Any]:
    """Compile options without XLA's YNNPACK fusions, which end the process (jaxlib 0.10: a segmentation fault in
    ``slinky::internal::can_fuse``) in the gradients of scattering in single precision. Empty where there are none."""
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


@functools.cache
def _jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    # On first use, because asking for the options starts JAX's back end.
    jit: Any = eqx.filter_jit  # whose stubs lack the options that it hands on to jax.jit
    return jit(function, compiler_options=_safe_options())


def energy_and_derivatives(
    model: Any, positions, cell, species, mask, grid: GridSize
) -> tuple[Float[Array, ""], Float[Array, "N 3"], Float[Array, "3 3"]]:
    """Energy (eV), dE/dpositions (eV/Å) and dE/dstrain (eV), compiled. Atoms and cell follow a strain h: r (1 + h)."""
    return _jitted(_energy_and_derivatives)(model, positions, cell, species, mask, grid)


def _energy_and_derivatives(model: Any, positions, cell, species, mask, grid: GridSize):
    def strained(moved, strain):
        deformation = jnp.eye(3, dtype=positions.dtype) + strain
        return model.energy(moved @ deformation, cell @ deformation, species, mask, grid)

    zero = jnp.zeros((3, 3), positions.dtype)
    energy, (gradient, virial) = jax.value_and_grad(strained, argnums=(0, 1))(positions, zero)
    # Only the grid makes it unsymmetric, by its error.
    return energy, gradient, 0.5 * (virial + virial.T)


class Derivatives(NamedTuple):
    """The energy of a whole cell (eV, without reference energies) and what follows from it."""

    energy: float
    forces: Float[np.ndarray, "N 3"]
    """eV/Å."""
    virial: Float[np.ndarray, "3 3"]
    """dE/dstrain, eV."""


def evaluate_cell(model: eqx.Module, arguments: tuple[Any, Any, Any, Any], grid: GridSize, n_atoms: int) -> Derivatives:
    """Energy, forces and virial of what `padded` made of a structure."""
    energy, gradient, virial = energy_and_derivatives(model, *arguments, grid)
    return Derivatives(float(energy), -np.asarray(gradient, float)[:n_atoms], np.asarray(virial, float))


def features_of(descriptor: Any, systems: Sequence[tuple], double: bool = True) -> Float[np.ndarray, "S F"]:
    """Features of many systems, one row each, compiled once for each padded size and grid.

    Args:
        descriptor: of whole cells: ``reach``, ``grid_for`` and a call with (positions, cell, species, mask, grid).
        systems: (positions[N, 3], cell[3, 3], periodic, species[N]) of each.
        double: compute in float64.

    Raises:
        StructureError: as `enclosing_cell`.

    Example:
        >>> from jax_models.descriptors.scattering import Scattering
        >>> one = np.zeros((1, 3)), 4.0 * np.eye(3), True, np.zeros(1, int)
        >>> features_of(Scattering(("Si",), n_scales=1, orders=(1,)), [one]).shape
        (1, 24)
    """
    rows = []
    with jax.enable_x64(double):
        for positions, cell, periodic, species in systems:
            box = enclosing_cell(np.asarray(positions, float), cell, periodic, descriptor.reach)
            arguments = padded(positions, box, species, np.float64 if double else np.float32)
            rows.append(np.asarray(_jitted(_features)(descriptor, *arguments, descriptor.grid_for(box)), float))
    return np.array(rows).reshape(len(rows), -1)


def _features(descriptor: Any, positions, cell, species, mask, grid):
    return descriptor(positions, cell, species, mask, grid)
