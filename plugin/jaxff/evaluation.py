"""Errors of a potential against labelled structures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Float

from jax_models import DatasetError, StructureError
from jaxff.io import Labels, check_asked, label_of, read_frames, recognised, virial_of
from jaxff.io.labels import options_of


@dataclass
class Labelled:
    """A structure and what a reference method says of it; what it does not say is None."""

    atoms: Atoms
    energy: float | None = None
    """eV"""
    forces: Float[np.ndarray, "N 3"] | None = None
    """eV/Å"""
    stress: Float[np.ndarray, " 6"] | None = None
    """eV/Å³, Voigt, ASE's sign."""
    group: str = ""
    """``config_type`` of the structure, where it has one."""
    name: str = "structure"
    """Where it came from, for messages: file and frame."""


@dataclass
class Pairs:
    """Reference and predicted values of one quantity, and the group each belongs to."""

    reference: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(self, reference: np.ndarray | float, predicted: np.ndarray | float, group: str) -> None:
        self.reference.append(np.ravel(reference))
        self.predicted.append(np.ravel(predicted))
        self.groups.append(group)

    def of(self, group: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Reference and prediction of one group, or of all."""
        chosen = [n for n, g in enumerate(self.groups) if group in (None, g)]
        if not chosen:
            return np.zeros(0), np.zeros(0)
        reference, predicted = (np.concatenate([v[n] for n in chosen]) for v in (self.reference, self.predicted))
        return reference, predicted


@dataclass
class Evaluation:
    """Predictions beside references: energy (eV/atom), force components (eV/Å), stress components (GPa)."""

    groups: list[str] = field(default_factory=list)
    energy: Pairs = field(default_factory=Pairs)
    force: Pairs = field(default_factory=Pairs)
    stress: Pairs = field(default_factory=Pairs)
    force_error: Pairs = field(default_factory=Pairs)
    """Of each atom whose potential knows its errors: the error of its force, and the expected one (eV/Å)."""
    grades: list[np.ndarray] = field(default_factory=list)
    """Extrapolation grades of the same atoms."""

    def add(self, other: Evaluation) -> None:
        """Append what was found for other structures."""
        self.groups += other.groups
        self.grades += other.grades
        for name in ("energy", "force", "stress", "force_error"):
            mine, more = getattr(self, name), getattr(other, name)
            mine.reference += more.reference
            mine.predicted += more.predicted
            mine.groups += more.groups

    def errors(self, group: str | None = None) -> dict[str, float]:
        """Mean absolute and root-mean-square errors of one group or of all; no key for a quantity without labels."""
        result: dict[str, float] = {"n_structures": len(self.groups) if group is None else self.groups.count(group)}
        for name, unit, pairs, factor in (
            ("energy", "mev_per_atom", self.energy, 1e3),
            ("force", "ev_per_angstrom", self.force, 1.0),
            ("stress", "gpa", self.stress, 1.0),
        ):
            reference, predicted = pairs.of(group)
            if len(reference):
                error = factor * (predicted - reference)
                result[f"{name}_mae_{unit}"] = float(np.abs(error).mean())
                result[f"{name}_rmse_{unit}"] = float(np.sqrt((error**2).mean()))
        found, expected = self.force_error.of(group)
        if len(found):
            result["coverage"] = float(np.mean(found <= expected))
            result["expected_force_error_ev_per_angstrom"] = float(np.mean(expected))
        return result

    def to_dict(self) -> dict:
        """Errors over all structures and, under ``config_type``, of each group."""
        result: dict = self.errors()
        names = sorted(set(self.groups) - {""})
        if names:
            result["config_type"] = {name: self.errors(name) for name in names}
        return result


def evaluate(structures: Iterable[Labelled], calculator: Calculator) -> Evaluation:
    """Run ``calculator`` on every structure and set its answers beside the labels.

    Raises:
        StructureError: a structure cannot be evaluated; the text names it.
    """
    from jaxff.ase import JaxffCalculator

    result = Evaluation()
    for labelled in structures:
        atoms, group = labelled.atoms.copy(), labelled.group
        atoms.calc = calculator
        if isinstance(calculator, JaxffCalculator):
            calculator.start_anew()
        try:
            energy = atoms.get_potential_energy()
        except StructureError as error:
            raise StructureError(f"{labelled.name}: {error}") from None
        result.groups.append(group)
        if labelled.energy is not None:
            result.energy.add(labelled.energy / len(atoms), energy / len(atoms), group)
        if labelled.forces is not None:
            forces = atoms.get_forces()
            result.force.add(labelled.forces, forces, group)
            expected = calculator.results.get("forces_expected_error")
            if expected is not None:
                result.force_error.add(np.linalg.norm(forces - labelled.forces, axis=1), expected, group)
                result.grades.append(np.array(calculator.results["extrapolation_grade"], float))
        if labelled.stress is not None and "stress" in calculator.results:
            result.stress.add(labelled.stress / units.GPa, atoms.get_stress() / units.GPa, group)
    return result


def read_labelled(
    path: Path,
    energy_key: str = "energy",
    forces_key: str = "forces",
    stress_key: str = "stress",
    virial_key: str = "virial",
) -> list[Labelled]:
    """The structures of a file with their labels, for commands that have an option for each label's name.

    Raises:
        DatasetError: it cannot be read, has no label of a name that was asked for, or none to compare with.
    """
    given = Labels(energy_key=energy_key, forces_key=forces_key, stress_key=stress_key, virial_key=virial_key)
    frames = read_frames(path)
    check_asked(frames, options_of(given))
    keys = recognised(frames, str(path), given)
    labelled = [labels_of(atoms, f"{path}, frame {n}", keys) for n, atoms in enumerate(frames)]
    if all(frame.energy is None and frame.forces is None for frame in labelled):
        raise DatasetError(f"no structure in {path} has an energy or forces to compare with")
    return labelled


def labels_of(atoms: Atoms, name: str, labels: Labels | None = None) -> Labelled:
    """A frame's labels, by the rules of `jaxff.io`: a stress whose ``stress_flag`` is not "ok" is none.

    Raises:
        DatasetError: a label has the wrong shape or is not finite; the text starts with ``name``.
    """
    labels = labels or Labels()
    energy, forces = (label_of(atoms, key) for key in (labels.energy_key, labels.forces_key))
    virial = virial_of(atoms, name, labels)
    for key, value, shape in (("energy", energy, ()), ("forces", forces, (len(atoms), 3)), ("stress", virial, (3, 3))):
        if value is None:
            continue
        if np.shape(value) != shape or not np.issubdtype(np.asarray(value).dtype, np.number):
            raise DatasetError(f"{name}: {key} has shape {np.shape(value)}; it must be numbers of shape {shape}")
        if not np.isfinite(value).all():
            raise DatasetError(f"{name}: {key} is not finite; remove or mend this frame")
    stress = None if virial is None else full_3x3_to_voigt_6_stress(virial / atoms.get_volume())
    return Labelled(atoms, energy, forces, stress, str(atoms.info.get("config_type", "")), name)
