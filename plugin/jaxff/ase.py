"""The ASE calculator: energy, forces, stress and their per-atom parts from a .jaxff file."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from jax_models import ConfigError, Potential, __version__
from jax_models.contract import SPREADS
from jax_models.model_file import read_bytes
from jax_models.systems import Result, evaluator_for, system_for
from jaxff.runtime import configure

_evaluators: weakref.WeakValueDictionary[tuple, Any] = weakref.WeakValueDictionary()
"""Calculators of one file share its compiled functions; they go when the last of them does."""

PROPERTIES = {
    "energy": ("energy", "free_energy"),
    "energies": ("energies",),
    "forces": ("forces",),
    "virial": ("stress",),
    "virials": ("stresses",),
    "energy_std": ("energy_std",),
    "forces_std": ("forces_std",),
    "virial_std": ("stress_std",),
    "extrapolation_grade": ("extrapolation_grade",),
    "forces_expected_error": ("forces_expected_error",),
}
"""What a contract's outputs are for ASE."""
ON_REQUEST = ("virials", *SPREADS)
"""Outputs that cost so much that they are computed when they are asked for."""

ERRORS = ("energy_std", "forces_std", "stress_std", "extrapolation_grade", "forces_expected_error")
"""What a potential says of its errors."""

SETTINGS = ("potential", "precision", "device", "skin", "teacher")


class JaxffCalculator(Calculator):
    """Energy, forces and stress of a potential, for everything that ASE does with a calculator.

    Gives ``energy`` (eV, reference energies of the elements included), ``free_energy`` (the same), ``energies[N]``,
    ``forces[N, 3]`` (eV/Å), and for a cell with a volume ``stress[6]`` and ``stresses[N, 6]`` (eV/Å³, Voigt, ASE's
    sign; the per-atom stresses are each atom's virial over the whole volume, so that they sum to the stress).
    Any boundary conditions; cells may be smaller than the cutoff. A potential of whole cells shares its energy evenly
    among the atoms and gives no ``stresses``. A delta model gives the sum with its teacher.

    A potential that knows its errors (``training.heads``, the default) also gives ``extrapolation_grade[N]`` (1: the
    edge of what it was trained on) and ``forces_expected_error[N]`` (eV/Å: nine of ten forces like those of the
    training are closer to the reference than that); and, when asked by ``get_property``, the standard deviations of its
    members, ``energy_std`` (eV), ``forces_std[N, 3]`` (eV/Å) and ``stress_std[6]`` (eV/Å³).

    Calculators can be pickled, copied and used in threads, each with its own atoms.

    Args:
        potential: path of a ``.jaxff`` file, or a `jax_models.Potential`.
        precision: "single" or "double"; vectors are formed and results summed in double either way.
        device: "cpu", "gpu" or "auto".
        skin: Å added to the cutoff of the neighbour list, which is kept until atoms may have crossed it;
            0 builds it at every evaluation.
        teacher: of a delta model, the YAML file that describes its teacher; None takes what was written into the
            potential when it was trained, and False leaves the teacher out.

    Raises:
        ModelFileError: the file is missing, corrupt or too new.
        ConfigError: an unknown setting, precision or device, a negative skin, or a delta model whose teacher is not
            known.
        StructureError: (on evaluation) an element the potential lacks, positions that are not finite, atoms on top
            of each other.
        JaxffError: (on evaluation) in a process that was forked after a potential had been evaluated.

    Example:
        >>> from ase.build import bulk
        >>> from jaxff import JaxffCalculator
        >>> atoms = bulk("Si", cubic=True)
        >>> atoms.calc = JaxffCalculator("lammps_examples/Si.jaxff")  # doctest: +SKIP
        >>> atoms.get_potential_energy()  # doctest: +SKIP
        -43.38
    """

    name = "jaxff"
    implemented_properties = [name for names in PROPERTIES.values() for name in names]

    def __init__(
        self,
        potential: str | os.PathLike | Potential,
        precision: str = "single",
        device: str = "auto",
        skin: float = 0.5,
        teacher: str | os.PathLike | bool | None = None,
    ):
        super().__init__()
        self._open({"potential": potential, "precision": precision, "device": device, "skin": skin, "teacher": teacher})

    def _open(self, settings: dict[str, Any], data: bytes | None = None) -> None:
        """Make the system and, for a delta model, its teacher; only then is anything changed.

        Args:
            settings: a value for each of ``SETTINGS``.
            data: the potential's file, where its bytes are known already.
        """
        skin = settings["skin"]
        if not (np.isfinite(skin) and skin >= 0):
            raise ConfigError(f"skin is {skin}; it must be a distance of 0 Å or more")
        configure()
        given = settings["potential"]
        if data is None and not isinstance(given, Potential):
            data = read_bytes(given)
        # What was given as an object, or is held already, stays what it is, whatever has become of a file.
        potential = given if isinstance(given, Potential) or data is None else _loaded(data, given)
        system = _system(potential, settings)
        contract = potential.contract
        teacher = None
        if contract.teacher is not None and settings["teacher"] is not False:
            from jaxff.knowledge.delta_teacher import teacher_calculator

            teacher = teacher_calculator(contract.teacher, given, settings["teacher"])
        self.system, self.potential, self._teacher, self._data = system, potential, teacher, data
        self._digest: str | None = None
        # This potential's own; ASE looks here.
        self.implemented_properties = [name for output in contract.outputs for name in PROPERTIES.get(output, ())]
        self.parameters.update(settings)
        self._numbers, self._species = np.zeros(0, int), np.zeros(0, np.int32)

    @property
    def evaluator(self) -> Any:
        """The compiled functions, shared by all calculators of one file, precision and device."""
        return self.system.evaluator

    @property
    def neighbor_list_builds(self) -> int:
        """How often the neighbour list was built so far."""
        return self.system.builds

    def set(self, **changes: Any) -> dict[str, Any]:
        """Change settings, by the names of the constructor's arguments; returns those that are new.

        Raises:
            ConfigError: there is no such setting; and what the constructor raises. The calculator is then unchanged.
        """
        unknown = sorted(set(changes) - set(SETTINGS))
        if unknown:
            raise ConfigError(f"there is no setting {', '.join(unknown)}; there are {', '.join(SETTINGS)}")
        changed = {k: v for k, v in changes.items() if not _same(self.parameters.get(k), v)}
        if changed:
            data = None if "potential" in changed else self._data
            self._open({**{name: self.parameters[name] for name in SETTINGS}, **changed}, data)
            self.reset()
        return changed

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """What a trajectory or a database keeps of this calculator: which potential it is, and its settings."""
        given = self.parameters["potential"]
        values = {
            "potential": None if isinstance(given, Potential) else os.fspath(given),
            "sha256": self._sha256(),
            "elements": list(self.potential.elements),
            "precision": self.parameters["precision"],
            "device": self.parameters["device"],
            "skin": self.parameters["skin"],
            "teacher": self._teacher_given(),
            "version": __version__,
        }
        return {key: value for key, value in values.items() if value is not None}

    def _teacher_given(self) -> str | bool | None:
        given = self.parameters["teacher"]
        return given if given is None or isinstance(given, bool) else os.fspath(given)

    def _sha256(self) -> str:
        """Of the potential's file; a trajectory asks at every frame."""
        if self._digest is None:
            self._digest = hashlib.sha256(self._bytes()).hexdigest()
        return self._digest

    def _bytes(self) -> bytes:
        """The potential's file; made once where the potential came as an object."""
        if self._data is None:
            self._data = self.potential.to_bytes()
        return self._data

    def __reduce__(self) -> tuple:
        # As its file's bytes, so that the file need not be there; compiled functions are made anew, or found.
        settings = {name: self.parameters[name] for name in SETTINGS}
        if isinstance(settings["potential"], Potential):
            settings["potential"] = "a pickled potential"
        atoms = None if self.atoms is None else self.atoms.copy()
        return _opened, (type(self), settings, self._bytes()), {"atoms": atoms, "results": dict(self.results)}

    def __deepcopy__(self, memo: dict) -> JaxffCalculator:
        # Compiled functions cannot be copied, and sharing them is what the copy is for.
        return _opened(type(self), {name: self.parameters[name] for name in SETTINGS}, self._data)

    def start_anew(self) -> None:
        """Say that the next structure has nothing to do with the last one: a grid is chosen for it alone."""
        self.system.start_anew()
        self.reset()

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What changed since the last calculation. Exact: ASE's own comparison, to 1e-15, takes ten times longer."""
        old = self.atoms
        if old is None:
            return list(all_changes)
        pairs = {
            "positions": (atoms.positions, old.positions),
            "numbers": (atoms.numbers, old.numbers),
            "cell": (atoms.cell.array, old.cell.array),
            "pbc": (atoms.pbc, old.pbc),
        }
        return [name for name, (new, previous) in pairs.items() if not np.array_equal(new, previous)]

    def _take_elements(self, atoms: Atoms) -> None:
        self.potential.species_of(atoms.symbols)  # names an element that it does not know
        part = self.potential.covering(atoms.symbols)
        species = part.species_of(atoms.symbols)
        if part is not self.system.evaluator.potential:
            self.system = _system(part, self.parameters)
        self._species, self._numbers = species, atoms.numbers.copy()

    def calculate(self, atoms: Atoms | None = None, properties=("energy",), system_changes=all_changes) -> None:
        """Evaluate ``atoms``; see the class for what is given and raised."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if not np.array_equal(atoms.numbers, self._numbers):
            self._take_elements(atoms)
        wanted = [
            output
            for output in self.potential.contract.outputs
            if output not in ON_REQUEST or PROPERTIES[output][0] in properties
        ]
        found = self.system.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, self._species, wanted)
        results = _ase_results(found, abs(np.linalg.det(atoms.cell.array)))
        if self._teacher is not None:
            results = _sums(results, self._teacher, atoms, properties)
        self.results = results


def _system(potential: Potential, settings: Mapping[str, Any]) -> Any:
    """A system of its own for ``potential``, with compiled functions that all calculators of it share."""
    evaluator = _shared_evaluator(potential, settings["precision"], settings["device"])
    return system_for(potential, skin=float(settings["skin"]), evaluator=evaluator)


def _ase_results(found: Result, volume: float) -> dict[str, Any]:
    """By ASE's names; without a volume there is no stress."""
    energy = found.energy
    results: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "energies": found.energies,
        "forces": found.forces,
        **found.more,
    }
    virial_std = results.pop("virial_std", None)
    if virial_std is not None and volume > 1e-8:
        results["stress_std"] = full_3x3_to_voigt_6_stress(virial_std / volume)
    if volume > 1e-8:
        results["stress"] = full_3x3_to_voigt_6_stress(found.virial / volume)
        if found.virials is not None:
            results["stresses"] = full_3x3_to_voigt_6_stress(found.virials / volume)
    return results


def _sums(results: dict[str, Any], teacher: Calculator, atoms: Atoms, properties: Collection[str]) -> dict[str, Any]:
    """Energy, forces and the ``properties`` that are asked for, plus the teacher's; what the teacher does not give is
    left out."""
    sums: dict[str, Any] = {}
    for name, value in results.items():
        if name == "free_energy":
            sums[name] = sums["energy"]
        elif name in ERRORS:
            sums[name] = value  # those of what was learned; the teacher is taken as it is
        elif name in ("energy", "forces") or name in properties:
            try:
                sums[name] = value + teacher.get_property(name, atoms)
            except PropertyNotImplementedError:
                continue
    return sums


def _same(old: Any, new: Any) -> bool:
    return old is new or (type(old) is type(new) and not isinstance(new, Potential) and old == new)


def _opened(kind: type[JaxffCalculator], settings: dict[str, Any], data: bytes | None) -> JaxffCalculator:
    """A calculator from all its settings and, where they are known, the bytes of its file."""
    calculator = object.__new__(kind)
    Calculator.__init__(calculator)
    calculator._open(settings, data)
    return calculator


_potentials: weakref.WeakValueDictionary[str, Potential] = weakref.WeakValueDictionary()
"""Potentials by the SHA-256 of their files."""


def _loaded(data: bytes, name: str | os.PathLike) -> Potential:
    """The potential in ``data``; the same object while it is in use."""
    digest = hashlib.sha256(data).hexdigest()
    potential = _potentials.get(digest)
    if potential is None:
        potential = _potentials[digest] = Potential.from_bytes(data, name)
    return potential


def _shared_evaluator(potential: Potential, precision: str, device: str) -> Any:
    """The evaluator of this object at this precision and device, made on first use."""
    key = (id(potential), precision, device)  # the evaluator holds the object, so its id stays its own
    evaluator = _evaluators.get(key)
    if evaluator is None:
        evaluator = _evaluators[key] = evaluator_for(potential, precision, device)
    return evaluator
