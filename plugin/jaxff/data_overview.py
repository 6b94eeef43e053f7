"""What labelled structures hold, before anything is trained on them: sizes, ranges of labels, and what looks wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import DatasetError
from jax_models.neighborhood import neighbor_pairs, pair_vectors
from jax_models.training.data.duplicates import equal_structures
from jax_models.training.data.label_checks import Suspicion, suspicions
from jax_models.training.data.structures import Structure, check
from jaxff.io import Labels, check_asked, label_names, label_of, read_frames, recognised, structure_of
from jaxff.io.labels import options_of
from jaxff.io.structures import CHARGES

BONDED = 3.5
"""Å; shorter distances are looked at."""
READ_ANYWAY = (*CHARGES, "stress_flag")
NO_ENERGY = "no energy: remove the frame or, where its energy has another name, say which by data.energy_key"
FREE_ENERGY = 1e-3
"""eV/atom; by less than this a free energy and the energy are the same."""


@dataclass(frozen=True)
class DataFile:
    """A file, and under which names its labels were found: of each kind, the name and how many frames have it."""

    path: Path
    structures: list[Structure]
    labels: dict[str, tuple[str, int]]
    others: list[str]
    """What else its frames carry."""


@dataclass(frozen=True)
class DataOverview:
    """All files together. A structure without an energy has one that is not a number."""

    files: list[DataFile]
    problems: list[Suspicion]
    """What a training refuses."""
    suspicions: list[Suspicion]
    copies: list[tuple[str, ...]]
    """Names of structures that are equal, in groups."""

    @property
    def structures(self) -> list[Structure]:
        return [s for file in self.files for s in file.structures]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; energies in eV/atom, forces in eV/Å, stresses in GPa, volumes in Å^3/atom."""
        structures = self.structures
        groups = sorted({s.group for s in structures} - {""})
        return {
            **summary(structures),
            "files": [
                {
                    "file": str(file.path),
                    **summary(file.structures),
                    "labels": {kind: {"name": name, "frames": n} for kind, (name, n) in file.labels.items()},
                    "other_labels": file.others,
                }
                for file in self.files
            ],
            "config_type": {name: summary([s for s in structures if s.group == name]) for name in groups},
            "shortest_distances": {
                pair: {"angstrom": distance, "frame": name}
                for pair, (distance, name) in shortest_distances(structures).items()
            },
            "copies": [list(names) for names in self.copies],
            "problems": [{"text": p.text, "frames": list(p.frames)} for p in self.problems],
            "suspicions": [{"text": s.text, "frames": list(s.frames)} for s in self.suspicions],
        }


def data_overview(paths: Sequence[Path], labels: Labels | None = None) -> DataOverview:
    """Read ``paths`` and look at all that is in them. A frame that cannot be trained on is a problem, not an error.

    Raises:
        DatasetError: a file cannot be read, no frame has a label of a name that was set, or two names could be meant.
    """
    labels = labels or Labels()
    read = {path: read_frames(path) for path in paths}
    check_asked([atoms for frames in read.values() for atoms in frames], options_of(labels))
    files: list[DataFile] = []
    found: dict[str, list[str]] = defaultdict(list)
    unlike: list[Suspicion] = []
    for path, frames in read.items():
        names = recognised(frames, str(path), labels)
        structures = []
        for number, atoms in enumerate(frames):
            name = f"{path}, frame {number}"
            try:
                structures.append(_structure(atoms, name, names))
            except DatasetError as error:
                found[_without(name, error)].append(name)
        files.append(DataFile(path, structures, _labels(frames, names), _others(frames, names)))
        unlike += _free_energies(frames, path, names)
    sound = []
    everything = [s for file in files for s in file.structures]
    for s in everything:
        if not np.isfinite(s.energy):
            found[NO_ENERGY if np.isnan(s.energy) else "energy is not finite; remove or mend this frame"].append(s.name)
            continue
        try:
            check([s])
            sound.append(s)
        except DatasetError as error:
            found[_without(s.name, error)].append(s.name)
    problems = [Suspicion(text, tuple(frames)) for text, frames in found.items()]
    if sound:
        try:
            check(sound)
        except DatasetError as error:
            problems.append(Suspicion(str(error), ()))
    return DataOverview(files, problems, [*suspicions(sound), *unlike], _copies(everything))


def summary(structures: Sequence[Structure]) -> dict[str, Any]:
    """Numbers and ranges, with None for what there is not."""
    atoms = Counter(symbol for s in structures for symbol in s.symbols)
    sizes = [len(s) for s in structures]
    periodic = Counter(f"{int(np.sum(s.periodic))}D" if np.any(s.periodic) else "none" for s in structures)
    forces = [np.linalg.norm(s.forces, axis=1) for s in structures if s.forces is not None]
    lengths = np.concatenate(forces) if forces else np.zeros(0)
    lengths = lengths[np.isfinite(lengths)]
    volumes = [abs(np.linalg.det(s.cell)) for s in structures]
    stresses = [
        s.virial / v / units.GPa for s, v in zip(structures, volumes, strict=True) if s.virial is not None and v > 0
    ]
    return {
        "structures": len(structures),
        "atoms": sum(sizes),
        "elements": dict(sorted(atoms.items(), key=lambda item: ATOMIC_NUMBERS.get(item[0], 0))),
        "sizes": _range(sizes),
        "periodic": dict(sorted(periodic.items())),
        "energy_ev_per_atom": _range([s.energy / len(s) for s in structures if len(s)]),
        "force_ev_per_angstrom": _range(lengths),
        "force_rms_ev_per_angstrom": float(np.sqrt(np.mean(lengths**2))) if lengths.size else None,
        "stress_gpa": _range(stresses),
        "pressure_gpa": _range([-np.trace(stress) / 3 for stress in stresses]),
        "volume_per_atom": _range(
            [v / len(s) for s, v in zip(structures, volumes, strict=True) if np.all(s.periodic) and len(s)]
        ),
    }


def shortest_distances(structures: Iterable[Structure]) -> dict[str, tuple[float, str]]:
    """Of each pair of elements that are ever closer than 3.5 Å: the shortest distance (Å), and where it is."""
    found: dict[str, tuple[float, str]] = {}
    for s in structures:
        if not (np.isfinite(s.positions).all() and len(s)):
            continue
        i, j, shifts = neighbor_pairs(s.positions, s.cell, s.periodic, BONDED)
        distances = np.linalg.norm(pair_vectors(s.positions, s.cell, i, j, shifts), axis=1)
        numbers = np.array([ATOMIC_NUMBERS.get(symbol, 0) for symbol in s.symbols])
        kinds = np.sort(np.stack([numbers[i], numbers[j]]), axis=0)
        for kind in np.unique(kinds, axis=1).T:
            members = np.flatnonzero((kinds == kind[:, None]).all(axis=0))
            place = members[np.argmin(distances[members])]
            pair = "-".join(sorted((s.symbols[i[place]], s.symbols[j[place]])))
            if pair not in found or distances[place] < found[pair][0]:
                found[pair] = float(distances[place]), s.name
    return dict(sorted(found.items()))


def _structure(atoms: Atoms, name: str, labels: Labels) -> Structure:
    """Also of a frame without an energy."""
    if label_of(atoms, labels.energy_key) is None:
        calculator, atoms = atoms.calc, atoms.copy()
        atoms.calc = calculator
        atoms.info[labels.energy_key] = np.nan
    return structure_of(atoms, name, labels)


def _labels(frames: Sequence[Atoms], labels: Labels) -> dict[str, tuple[str, int]]:
    found = {}
    for kind in ("energy", "forces", "stress", "virial", "density"):
        name = getattr(labels, f"{kind}_key")
        number = sum(label_of(atoms, name) is not None for atoms in frames)
        if number:
            found[kind] = name, number
    return found


def _others(frames: Sequence[Atoms], labels: Labels) -> list[str]:
    used = {getattr(labels, f"{kind}_key") for kind in ("energy", "forces", "stress", "virial", "density")}
    return [name for name in label_names(frames) if name not in {*used, *READ_ANYWAY}]


def _free_energies(frames: Sequence[Atoms], path: Path, labels: Labels) -> list[Suspicion]:
    """Energies that forces are no derivative of: extrapolated to no smearing, beside the free energy."""
    apart = {}
    for number, atoms in enumerate(frames):
        energy, free = label_of(atoms, labels.energy_key), label_of(atoms, "free_energy")
        if len(atoms) and all(isinstance(value, int | float | np.number) for value in (energy, free)):
            apart[f"{path}, frame {number}"] = abs(float(energy) - float(free)) / len(atoms)
    wrong = {name: value for name, value in apart.items() if value > FREE_ENERGY}
    if not wrong:
        return []
    text = (
        f"{len(wrong)} frames have a free energy up to {1e3 * max(wrong.values()):.1f} meV/atom from their energy, as "
        "smearing makes it: forces are derivatives of the free energy; take it by data.energy_key=free_energy"
    )
    return [Suspicion(text, tuple(wrong))]


def _copies(structures: Sequence[Structure]) -> list[tuple[str, ...]]:
    placed = [s for s in structures if np.isfinite(s.positions).all() and np.isfinite(s.cell).all()]
    placed = [s for s in placed if not np.all(s.periodic) or abs(np.linalg.det(s.cell)) > 1e-8]
    groups = (group for group in equal_structures(placed) if len(group) > 1)
    return [tuple(placed[n].name for n in group) for group in groups]


def _without(name: str, error: DatasetError) -> str:
    """What is wrong with a frame, apart from which it is: many frames may have the same."""
    return str(error).removeprefix(name).lstrip(": ")


def _range(values: Any) -> dict[str, float] | None:
    values = np.asarray(values, float).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
