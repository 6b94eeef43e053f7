"""Potential: contract, parameters and energy, the one public type."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from jax_models import model_file
from jax_models.contract import Contract
from jax_models.elements import element_indices
from jax_models.errors import ConfigError
from jax_models.exported import exported_model
from jax_models.neighborhood import Neighborhood
from jax_models.precision import model_in
from jax_models.systems import evaluator_for, system_for
from jax_models.systems.evaluator import compiled
from jax_models.uncertainty import Uncertainty

MANY_ELEMENTS = 8
"""Of a potential that knows more than this, engines compile the part for the elements that occur."""


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
    uncertainty: Uncertainty | None = None
    """Members, grade and calibration, where it has been given any; see `jax_models.training.uncertainty`."""

    def __post_init__(self) -> None:
        if self.contract.uncertainty != (self.uncertainty is not None):
            contract = dataclasses.replace(self.contract, uncertainty=self.uncertainty is not None)
            object.__setattr__(self, "contract", contract)
        # What a training records of a delta model's teacher is what engines must know of it.
        delta = self.provenance.get("delta")
        if delta is not None and self.contract.teacher != delta:
            object.__setattr__(self, "contract", dataclasses.replace(self.contract, teacher=delta))

    @property
    def elements(self) -> tuple[str, ...]:
        return self.contract.elements

    @property
    def cutoff(self) -> float:
        return self.contract.cutoff

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        """Energy of each centre (eV) without reference energies, in the type of ``neighborhood.vectors``."""
        return self.model_in(neighborhood.vectors.dtype).energies(neighborhood)

    def model_in(self, dtype: Any) -> Any:
        """The model with its parameters cast to ``dtype``."""
        return model_in(self.model, dtype)

    def compiled(self) -> Callable[..., tuple[Float[Array, " N"], Float[Array, "N K 3"]]]:
        """A jitted ``f(vectors, species, neighbor_species, mask, neighbors=None) -> (energies, dE/dvectors)`` of
        float32 or float64; message-passing models need ``neighbors``."""
        return compiled(self.model)

    @functools.cached_property
    def _evaluators(self) -> dict[str, Any]:
        """Compiled functions by precision, kept from one evaluation to the next."""
        return {}

    @functools.cached_property
    def _parts(self) -> dict[tuple[str, ...], Potential]:
        """What `covering` has cut out so far."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions can be neither copied nor pickled.
        return {name: value for name, value in vars(self).items() if name not in ("_evaluators", "_parts")}

    def species_of(self, symbols: Sequence[str]) -> np.ndarray:
        """Indices of chemical symbols in this potential's element list.

        Raises:
            StructureError: an element this potential does not know.
        """
        return element_indices(symbols, self.elements)

    @property
    def _divisible(self) -> bool:
        """Whether it can be cut down to fewer elements."""
        return hasattr(self.model, "only") and self.uncertainty is None

    def only(self, elements: Sequence[str]) -> Potential:
        """The same potential for some of its elements: smaller, and faster where each element has parameters.

        Args:
            elements: chemical symbols; the new potential has them in this order.

        Raises:
            StructureError: an element this potential does not know.
            ConfigError: a potential whose elements share parameters, or one that knows its errors: its calibration is
                for all of them.
        """
        rows = tuple(int(row) for row in self.species_of(list(elements)))
        if not self._divisible:
            why = "it knows its errors" if self.uncertainty is not None else "its parameters belong to all of them"
            raise ConfigError(f"a potential for {', '.join(self.elements)} cannot be cut down to fewer elements: {why}")
        contract = dataclasses.replace(self.contract, elements=tuple(elements))
        model: Any = self.model
        return Potential(
            contract, model.only(rows), self.architecture, self.reference_energies[list(rows)], self.provenance
        )

    def covering(self, symbols: Collection[str]) -> Potential:
        """What an engine should compile for atoms of these elements: this potential, or of one that knows many
        elements the part for those of ``symbols`` that it knows."""
        if len(self.elements) <= MANY_ELEMENTS or not self._divisible:
            return self
        present = set(symbols)
        occurring = tuple(element for element in self.elements if element in present)
        if not occurring or occurring == self.elements:
            return self
        if occurring not in self._parts:
            self._parts[occurring] = self.only(occurring)
        return self._parts[occurring]

    def evaluate(
        self,
        positions,
        cell,
        periodic,
        symbols: list[str],
        double: bool = True,
        outputs: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Energy, forces, virial and per-atom values of one structure, by a `System` of its own.

        Args:
            positions: [N, 3], Å.
            cell: [3, 3], rows a, b, c, Å.
            periodic: along which cell vectors, or one value for all.
            symbols: of the N atoms.
            double: compute in float64.
            outputs: names from the contract's ``outputs`` that are wanted; None: all but those of the uncertainty.

        Returns:
            ``energy`` (eV), ``energies[N]``, ``forces[N, 3]`` (eV/Å), ``virial[3, 3]`` = dE/dstrain (eV),
            ``virials[N, 3, 3]``; a potential of whole cells gives no ``virials``. See `systems.result.Result`.

        Raises:
            StructureError: an element the potential lacks, and what `System.evaluate` raises.
        """
        part = self.covering(symbols)
        if part is not self:
            return part.evaluate(positions, cell, periodic, symbols, double, outputs)
        precision = "double" if double else "single"
        if precision not in self._evaluators:
            self._evaluators[precision] = evaluator_for(self, precision)
        system = system_for(self, skin=0.0, evaluator=self._evaluators[precision])
        return system.evaluate(positions, cell, periodic, self.species_of(symbols), outputs).to_dict()

    def save(self, path: str | os.PathLike) -> None:
        """Write a ``.jaxff`` file, replacing an old one only when the new one is complete.

        Raises:
            ModelFileError: it cannot be written, or the potential gives numbers that are not finite.
        """
        model_file.write(self, path)

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        return model_file.to_bytes(self)

    @staticmethod
    def load(path: str | os.PathLike, verify: bool = True) -> Potential:
        """Read a ``.jaxff`` file.

        Raises:
            ModelFileError: missing, corrupt or too new, or (with ``verify``) not reproducing its own check values.
        """
        return Potential.from_bytes(model_file.read_bytes(path), path, verify)

    @staticmethod
    def from_bytes(data: bytes, name: str | os.PathLike = "the potential", verify: bool = True) -> Potential:
        """The potential in the bytes of a ``.jaxff`` file; ``name`` is for messages.

        Raises:
            ModelFileError: as `load`.
        """
        found = model_file.parse(data, name)
        potential = Potential(
            found.contract,
            found.model,
            found.architecture,
            found.reference_energies,
            found.provenance,
            found.uncertainty,
        )
        if verify:
            model_file.verify(potential, found.check, name)
        return potential

    @staticmethod
    def from_function(
        energy: Callable[[Neighborhood], Array], elements: Sequence[str], cutoff: float, **contract: Any
    ) -> Potential:
        """A local potential from a plain JAX function of a Neighborhood, kept as StableHLO.

        Args:
            energy: takes a `Neighborhood` (vectors[N, K, 3] in Å, species[N], neighbor_species[N, K], mask[N, K];
                ``neighbors`` is None) and returns the energy of each centre [N] in eV. Where ``mask`` is False there is
                no neighbour, and the vector is (1, 1, 1). N and K may be any size, in float32 and in float64.
            elements: chemical symbols; ``species`` indexes them.
            cutoff: Å; neighbours at r < cutoff are seen.
            contract: other fields of `Contract`, e.g. ``citation``.

        Raises:
            ConfigError: the function fails, returns another shape, gives numbers that are not finite, or depends on
                padded neighbours.

        Example:
            A Lennard-Jones crystal of argon; half of each pair's energy belongs to each of its atoms.

            >>> import jax.numpy as jnp
            >>> def lennard_jones(nb, epsilon=0.0104, sigma=3.4):
            ...     s6 = (sigma**2 / jnp.sum(nb.vectors**2, axis=-1)) ** 3
            ...     return 0.5 * jnp.sum(jnp.where(nb.mask, 4 * epsilon * (s6**2 - s6), 0.0), axis=-1)
            >>> Potential.from_function(lennard_jones, ["Ar"], cutoff=8.5).elements
            ('Ar',)
        """
        declared, model = exported_model(energy, elements, cutoff, **contract)
        return Potential(declared, model, {"name": "exported"}, np.zeros(len(declared.elements)))
