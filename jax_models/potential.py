"""Potential: contract, parameters and energy, the one public type."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.derivatives import atomic_virials, energies_and_gradient, forces, point_sums, virial
from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError, StructureError
from jax_models.neighborhood import Neighborhood, bucket, neighborhood_of
from jax_models.reference_points.grid_list import grid_points
from jax_models.whole_cell import enclosing_cell, evaluate_cell, padded

SCHEMA_VERSION = 2
GRID_BLOCK = 1024


@dataclass(frozen=True)
class Contract:
    """What a potential is and needs; engines read it and refuse, by name, what they cannot do. Units: eV, Å."""

    elements: tuple[str, ...]
    cutoff: float
    layers: int = 1
    """Interaction layers: an energy depends on atoms up to layers x cutoff away."""
    kind: str = "local"
    """``local``, ``message_passing`` or ``global`` (the energy is one of all positions and the cell; the cutoff means
    nothing, see `jax_models.whole_cell`)."""
    centers: str = "atoms"
    """What the rows of a Neighborhood are: ``atoms``, or ``grid`` for points at most ``spacing`` apart (see
    `jax_models.reference_points.grid`), whose energies are densities in eV/Å^3."""
    spacing: float = 0.0
    """Å; 0 where there is no grid."""
    outputs: tuple[str, ...] = ("energy",)
    dtype: str = "float32"
    """Compute type a precision "auto" means."""
    citation: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self):
        unknown = [e for e in self.elements if e not in ATOMIC_NUMBERS]
        if unknown:
            raise ConfigError(f"not a chemical element: {', '.join(map(str, unknown))}")
        if not self.elements or len(set(self.elements)) < len(self.elements):
            raise ConfigError(f"elements must be one or more different symbols, not {list(self.elements)}")
        if not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise ConfigError(f"cutoff is {self.cutoff}; it must be a positive distance in Å")

        if self.kind not in ("local", "message_passing", "global"):
            raise ConfigError(f"kind is {self.kind!r}; it must be local, message_passing or global")
        if self.centers not in ("atoms", "grid"):
            raise ConfigError(f"centers is {self.centers!r}; it must be atoms or grid")
        if (self.centers == "grid") != (np.isfinite(self.spacing) and self.spacing > 0):
            raise ConfigError(
                f"spacing is {self.spacing} with centers {self.centers}; a grid needs a positive one, atoms 0"
            )

    @classmethod
    def of(cls, model: eqx.Module, elements: tuple[str, ...], cutoff: float, **others: Any) -> Contract:
        """The contract of a model that `jax_models.models.build` made."""
        return cls(
            tuple(elements),
            cutoff,
            layers=model.n_layers,
            kind=model.kind,
            centers=getattr(model, "centers", "atoms"),
            spacing=getattr(model, "spacing", 0.0),
            **others,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Potential:
    """A force field: learned energy per centre, plus a constant energy for each element.

    Example:
        >>> from jax_models import Potential
        >>> potential = Potential.load("lammps_examples/Si.jaxff")  # doctest: +SKIP
        >>> potential.contract.elements  # doctest: +SKIP
        ('Si',)
    """

    contract: Contract
    model: eqx.Module
    """Anything with ``energies(neighborhood) -> [N]`` in eV; of kind ``global``, a
    `jax_models.whole_cell.WholeCellModel`."""
    architecture: dict[str, Any]
    """Rebuilds ``model``'s structure; its arrays come from the file."""
    reference_energies: Float[np.ndarray, " S"]
    """eV per atom of each element, added in float64 by the engines: large constants have no place in float32."""
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def elements(self) -> tuple[str, ...]:
        return self.contract.elements

    @property
    def cutoff(self) -> float:
        return self.contract.cutoff

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        """Energy of each centre (eV) without reference energies, in the type of ``neighborhood.vectors``."""
        return self.model_in(neighborhood.vectors.dtype).energies(neighborhood)

    def model_in(self, dtype: Any) -> eqx.Module:
        """The model with its parameters cast to ``dtype``."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if eqx.is_inexact_array(leaf) else leaf, self.model)

    def compiled(self) -> Callable[..., tuple[Float[Array, " N"], Float[Array, "N K 3"]]]:
        """A jitted ``f(vectors, species, neighbor_species, mask, neighbors=None) -> (energies, dE/dvectors)`` of
        float32 or float64; message-passing models need ``neighbors``."""

        def jaxff_energy_and_gradient(vectors, species, neighbor_species, mask, neighbors=None):
            return energies_and_gradient(
                self.energies, Neighborhood(vectors, species, neighbor_species, mask, neighbors)
            )

        return jax.jit(jaxff_energy_and_gradient)

    @functools.cached_property
    def _compiled(self) -> Callable[..., tuple[Float[Array, " N"], Float[Array, "N K 3"]]]:
        return self.compiled()

    def species_of(self, symbols: list[str]) -> np.ndarray:
        """Indices of chemical symbols in this potential's element list.

        Raises:
            StructureError: an element this potential does not know.
        """
        index = {e: n for n, e in enumerate(self.elements)}
        unknown = sorted(set(symbols) - set(index))
        if unknown:
            raise StructureError(
                f"the potential has no parameters for {', '.join(unknown)}; it knows {', '.join(self.elements)}"
            )
        return np.array([index[s] for s in symbols], np.int32)

    def evaluate(self, positions, cell, periodic, symbols: list[str], double: bool = True) -> dict[str, np.ndarray]:
        """Energy, forces, virial and per-atom values of one structure: the plain reference the engines are tested
        against.

        Returns:
            ``energy`` (eV), ``energies[N]``, ``forces[N, 3]`` (eV/Å), ``virial[3, 3]`` = dE/dstrain (eV),
            ``virials[N, 3, 3]``. What a grid point sees shares its energy by (1 - (r/cutoff)^2)^3; a potential of whole
            cells shares it evenly, and gives no ``virials``.
        """
        species = self.species_of(symbols)
        if self.contract.kind == "global":
            dtype = np.float64 if double else np.float32
            box = enclosing_cell(np.asarray(positions, float), cell, periodic, self.model.reach)
            arguments = padded(positions, box, species, dtype)
            with jax.enable_x64(double):
                found = evaluate_cell(self.model_in(dtype), arguments, self.model.grid_for(box), len(species))
            energies = found["energy"] / max(len(species), 1) + self.reference_energies[species]
            return found | {"energy": energies.sum(), "energies": energies}
        if self.contract.centers == "grid":
            return self._evaluate_grid(np.asarray(positions, float), np.asarray(cell, float), periodic, species, double)
        with jax.enable_x64(double):
            nb = neighborhood_of(positions, cell, periodic, species, self.cutoff, np.float64 if double else np.float32)
            per_center, gradient = self._compiled(*nb)
        energies = np.asarray(per_center, float) + self.reference_energies[species]
        gradient = np.asarray(gradient, float)
        return {
            "energy": energies.sum(),
            "energies": energies,
            "forces": forces(gradient, nb.neighbors, len(species)),
            "virial": virial(nb.vectors, gradient),
            "virials": atomic_virials(nb.vectors, gradient),
        }

    def _evaluate_grid(self, positions, cell, periodic, species, double: bool) -> dict[str, np.ndarray]:
        points = grid_points(positions, cell, periodic, self.contract.spacing, self.cutoff)
        nb = points.neighborhood(positions, cell, species, np.float64 if double else np.float32)
        n, k = nb.mask.shape
        # In blocks of few different sizes: structures one after another rarely have the same number of points.
        size, width = min(bucket(max(n, 1), 64), GRID_BLOCK), bucket(k)
        found = []
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            room = (0, size - (rows.stop - start)), (0, width - k)
            block = [np.pad(field[rows], [*room[: field.ndim], (0, 0)][: field.ndim]) for field in nb[:4]]
            with jax.enable_x64(double):
                density, gradient = self._compiled(*block)
            found.append((np.asarray(density)[: rows.stop - start], np.asarray(gradient)[: rows.stop - start, :k]))
        density, gradient = (np.concatenate(parts) for parts in zip(*found, strict=True))
        sums = point_sums(nb, points.weight, density, gradient, self.cutoff, len(species))
        sums["energies"] += self.reference_energies[species]
        return {"energy": sums["energies"].sum(), **sums, "virial": sums["virials"].sum(axis=0)}

    def save(self, path: str | os.PathLike) -> None:
        """Write a ``.jaxff`` file, replacing an old one only when the new one is complete."""
        from jax_models.model_file import write

        write(self, path)

    @staticmethod
    def load(path: str | os.PathLike, verify: bool = True) -> Potential:
        """Read a ``.jaxff`` file.

        Raises:
            ModelFileError: missing, corrupt or too new, or (with ``verify``) not reproducing its own check values.
        """
        from jax_models.model_file import read

        return read(path, verify=verify)

    @staticmethod
    def from_function(energy: Callable[[Neighborhood], Array], elements, cutoff: float, **contract: Any) -> Potential:
        """A potential from anyone's JAX function of a Neighborhood; see `jax_models.exported.from_function`."""
        from jax_models.exported import from_function

        return from_function(energy, elements, cutoff, **contract)
