"""Contract: what a potential is, what it gives and what an engine must provide for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError

SCHEMA_VERSION = 4

ENERGY_AND_DERIVATIVES = ("energy", "energies", "forces", "virial")
GRADED = ("extrapolation_grade", "forces_expected_error")
"""Of potentials with an uncertainty: from one evaluation, nearly free."""
SPREADS = ("energy_std", "forces_std", "virial_std")
"""Of potentials with an uncertainty: from a gradient for each member."""

NEEDS = {
    "neighbors": "sees the neighbours of each atom",
    "messages": "passes messages between neighbours",
    "grid": "looks from the points of a grid",
    "whole cell": "sees the whole cell at once",
    "teacher": "is a delta model, to be added to its teacher",
}
"""What an engine may have to provide, and what a message says of a potential that needs it."""


@dataclass(frozen=True)
class Contract:
    """What a potential is and needs; engines read it and refuse, by name, what they cannot do. Units: eV, Å.

    Raises:
        ConfigError: elements, cutoff, kind, centers or spacing that make no sense.
    """

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
    teacher: Mapping[str, Any] | None = None
    """Of a delta model: the ``teacher`` whose energies must be added, by name, and its ``settings`` where known."""
    uncertainty: bool = False
    """Whether it comes with members, an extrapolation grade and expected force errors."""
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
    def of(cls, model: Any, elements: tuple[str, ...], cutoff: float, **others: Any) -> Contract:
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Contract:
        """The contract as a file holds it, of any schema version up to this one.

        Raises:
            TypeError: a key that no contract has.
        """
        # What a model gives and needs follows from the rest; files of versions 1 and 2 also name a compute type.
        derived = {"outputs", "needs"} | ({"dtype"} if int(values["schema_version"]) < 3 else set())
        given: dict[str, Any] = {k: v for k, v in values.items() if k not in derived}
        return cls(**given | {"elements": tuple(given["elements"])})

    @property
    def system(self) -> str:
        """Which of the `jax_models.systems` evaluates it: ``atoms``, ``layers``, ``grid`` or ``cell``.

        This is the one place that tells the kinds of potentials apart; everything else looks up a table by this word.
        """
        if self.kind == "global":
            return "cell"
        if self.centers == "grid":
            return "grid"
        return "layers" if self.kind == "message_passing" else "atoms"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what an evaluation gives: the fields of a `jax_models.systems.result.Result`."""
        # The energy of a whole cell belongs to no atom, so neither does a virial.
        own = ENERGY_AND_DERIVATIVES if self.system == "cell" else (*ENERGY_AND_DERIVATIVES, "virials")
        return (*own, *GRADED, *SPREADS) if self.uncertainty else own

    @property
    def needs(self) -> tuple[str, ...]:
        """What an engine must provide: keys of ``NEEDS``."""
        own = {
            "atoms": ("neighbors",),
            "layers": ("neighbors", "messages"),
            "grid": ("grid",),
            "cell": ("whole cell",),
        }[self.system]
        return own if self.teacher is None else (*own, "teacher")

    def refuse_unless(self, provided: Collection[str], engine: str, name: str) -> None:
        """Refuse this potential where ``engine`` does not provide what it needs.

        Args:
            provided: keys of ``NEEDS``.
            engine: who asks, e.g. "pair_style python".
            name: of the potential, e.g. the path of its file.

        Raises:
            ConfigError: names what is missing.
        """
        missing = [NEEDS[need] for need in self.needs if need not in provided]
        if missing:
            raise ConfigError(f"{name} {' and '.join(missing)}; {engine} cannot run it, pair_style jaxff and ASE can")

    def to_dict(self) -> dict[str, Any]:
        """For JSON; with ``outputs`` and ``needs``."""
        values = asdict(self) | {"outputs": self.outputs, "needs": self.needs}
        version = values.pop("schema_version")
        return values | {"schema_version": version}
