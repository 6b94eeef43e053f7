"""Watch an ASE simulation by its expected force errors: collect what is unknown, stop what goes astray."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from jax_models.errors import ConfigError, JaxffError


class ExtrapolationError(JaxffError):
    """A simulation was stopped, because a force is expected to be more wrong than was allowed."""


class ErrorMonitor:
    """Attach to a dynamics or an optimiser; it looks at the expected force errors each time it is called.

    Args:
        atoms: with a `JaxffCalculator` whose potential knows its errors.
        collect_above: eV/Å; structures in which an atom's expected error is above it are kept in ``collected`` and, if
            there is a ``file``, appended to it (extended XYZ, with ``forces_expected_error`` and
            ``extrapolation_grade`` of each atom).
        stop_above: eV/Å; above it `ExtrapolationError` is raised, after the structure was collected.
        file: where collected structures go.
        grade: judge by the extrapolation grade instead of the expected error; both limits are then grades.

    Raises:
        ConfigError: the calculator's potential knows nothing of its errors, or neither limit is given.
        ExtrapolationError: (when called) see ``stop_above``.

    Example:
        >>> from ase.md.langevin import Langevin  # doctest: +SKIP
        >>> dynamics = Langevin(atoms, ...)  # doctest: +SKIP
        >>> dynamics.attach(ErrorMonitor(atoms, stop_above=1.0, file="unknown.xyz"), interval=5)  # doctest: +SKIP
    """

    def __init__(
        self,
        atoms: Atoms,
        collect_above: float | None = None,
        stop_above: float | None = None,
        file: str | os.PathLike | None = None,
        grade: bool = False,
    ):
        if collect_above is None and stop_above is None:
            raise ConfigError("an ErrorMonitor needs collect_above, stop_above or both")
        self.quantity = "extrapolation_grade" if grade else "forces_expected_error"
        if self.quantity not in getattr(atoms.calc, "implemented_properties", ()):
            raise ConfigError(
                "the calculator's potential knows nothing of its errors; train it with training.heads=8 (the default)"
            )
        self.atoms = atoms
        self.stop_above = np.inf if stop_above is None else stop_above
        # What stops is collected first, whatever else is.
        self.collect_above = min(self.stop_above, np.inf if collect_above is None else collect_above)
        self.file = None if file is None else Path(file)
        self.collected: list[Atoms] = []
        self.highest = 0.0
        """The largest value seen so far."""

    def __call__(self) -> None:
        values = self.atoms.calc.get_property(self.quantity, self.atoms)
        worst = int(np.argmax(values))
        largest = float(values[worst])
        self.highest = max(self.highest, largest)
        if largest > self.collect_above:
            self._collect()
        if largest > self.stop_above:
            unit = "" if self.quantity == "extrapolation_grade" else " eV/Å"
            raise ExtrapolationError(
                f"the {self.quantity} of atom {worst} is {largest:.3g}{unit}, above {self.stop_above:.3g}{unit}"
            )

    def _collect(self) -> None:
        calc = self.atoms.calc
        kept = self.atoms.copy()
        kept.calc = SinglePointCalculator(kept, energy=calc.results["energy"], forces=calc.results["forces"].copy())
        for name in ("forces_expected_error", "extrapolation_grade"):
            kept.arrays[name] = np.array(calc.results[name])
        self.collected.append(kept)
        if self.file is not None:
            write(self.file, kept, format="extxyz", append=True)
