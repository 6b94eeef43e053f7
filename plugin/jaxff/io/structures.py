"""Labelled structures as plain arrays, from frames and files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jax_models.errors import DatasetError
from jax_models.training.data.structures import Structure
from jaxff.io.frames import read_frames
from jaxff.io.labels import Labels, label_of, matrix, virial_of
from jaxff.io.recognition import recognised

CHARGES = ("charge", "total_charge", "net_charge")


def read_structures(path: str | os.PathLike, labels: Labels | None = None) -> list[Structure]:
    """The labelled frames of ``path``, of any kind that `read_frames` knows.

    A frame's stress is used unless its ``stress_flag`` is other than "ok": then it is known to be wrong or to mean
    little (a slab), and only energy and forces count. Without a stress, a ``virial`` (= -stress x volume) is taken.
    Names of labels that other packages write are taken where the usual ones are absent, see `recognised`.

    Raises:
        DatasetError: the file cannot be read, has no frames, or a frame has no energy; the text names the frame.
    """
    frames = read_frames(path)
    labels = recognised(frames, os.fspath(path), labels or Labels())
    return [structure_of(atoms, f"{path}, frame {n}", labels) for n, atoms in enumerate(frames)]


def read_labelled_frames(path: str | os.PathLike) -> list[Any]:
    """The frames of ``path`` as ASE atoms, with recognised labels under the usual names: fit to be put together with
    frames of other files.

    Raises:
        DatasetError: the file cannot be read, or has several names of a label that differ.
    """
    frames = read_frames(path)
    labels = recognised(frames, os.fspath(path), Labels())
    if labels == Labels():
        return frames
    return [_renamed(atoms, f"{path}, frame {n}", labels) for n, atoms in enumerate(frames)]


def _renamed(atoms: Any, name: str, labels: Labels) -> Any:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    found = {} if atoms.calc is None else dict(atoms.calc.results)
    virial = virial_of(atoms, name, labels)
    result = atoms.copy()
    for kind in ("energy", "forces", "stress", "virial"):
        key = getattr(labels, f"{kind}_key")
        value = label_of(atoms, key)
        if value is not None and key != kind:
            found.pop(key, None)
            result.info.pop(key, None)
            result.arrays.pop(key, None)
            if kind in ("energy", "forces"):
                found[kind] = value
    if virial is not None:
        found["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())
    result.calc = SinglePointCalculator(result, **found)
    return result


def read_teacher_frames(
    path: str | os.PathLike, labels: Labels | None = None
) -> tuple[list[dict[str, Any]], list[Structure]]:
    """The frames of ``path``, with or without labels of their own, and what teachers say of each.

    Returns:
        For each frame a dictionary from a teacher's name to its ``energy``, ``forces`` and ``virial`` (None where
        missing), as `jaxff label` wrote them; and its structure, whose energy is not a number where the frame has none.

    Raises:
        DatasetError: the file cannot be read, a label has the wrong shape or is not finite, or a frame has neither an
            energy nor a teacher's; the text names the frame.
    """
    frames = read_frames(path)
    labels = recognised(frames, os.fspath(path), labels or Labels(), teachers=True)
    teachers, structures = [], []
    for number, atoms in enumerate(frames):
        name = f"{path}, frame {number}"
        teachers.append(_teacher_answers(atoms, name))
        energy = label_of(atoms, labels.energy_key)
        if energy is None and teachers[-1]:
            atoms = atoms.copy()
            atoms.info[labels.energy_key] = np.nan
        elif np.isscalar(energy) and not np.isfinite(energy):
            raise DatasetError(f"{name}: {labels.energy_key} is not finite; remove or mend this frame")
        structures.append(structure_of(atoms, name, labels))
    return teachers, structures


def _teacher_answers(atoms: Any, name: str) -> dict[str, Any]:
    result = {}
    periodic = atoms.pbc.all()
    for key, energy in atoms.info.items():
        teacher = key.removeprefix("energy_")
        if teacher == key or not isinstance(energy, int | float | np.number):
            continue
        forces, stress = atoms.arrays.get(f"forces_{teacher}"), atoms.info.get(f"stress_{teacher}")
        virial = (
            None if stress is None or not periodic else matrix(stress, f"{name}: stress_{teacher}") * atoms.get_volume()
        )
        for what, value, shape in (
            ("energy", energy, ()),
            ("forces", forces, (len(atoms), 3)),
            ("stress", virial, (3, 3)),
        ):
            if value is not None and (np.shape(value) != shape or not np.isfinite(np.asarray(value, float)).all()):
                raise DatasetError(
                    f"{name}: {what}_{teacher} is not finite or has the wrong shape; label this frame again"
                )
        result[teacher] = {"energy": float(energy), "forces": forces, "virial": virial}
    return result


def structure_of(atoms: Any, name: str, labels: Labels | None = None) -> Structure:
    """One frame as plain arrays.

    Raises:
        DatasetError: it has no energy, or labels of the wrong shape.
    """
    labels = labels or Labels()
    energy = label_of(atoms, labels.energy_key)
    if energy is None:
        present = sorted(
            {*(atoms.calc.results if atoms.calc else ()), *atoms.info, *atoms.arrays} - {"numbers", "positions"}
        )
        raise DatasetError(
            f"{name} has no energy: there is no {labels.energy_key!r} among its labels "
            f"({', '.join(present) or 'none'}). "
            "Set data.energy_key to the right name, or remove the frame"
        )
    if np.ndim(energy) != 0 or not np.issubdtype(np.asarray(energy).dtype, np.number):
        raise DatasetError(f"{name}: {labels.energy_key} is {energy!r}; it must be one number in eV")
    forces, density = label_of(atoms, labels.forces_key), label_of(atoms, labels.density_key)
    return Structure(
        positions=np.array(atoms.positions, float),
        cell=np.array(atoms.cell.array, float),
        periodic=np.array(atoms.pbc, bool),
        symbols=tuple(atoms.get_chemical_symbols()),
        energy=float(energy),
        forces=None if forces is None else np.array(forces, float),
        virial=virial_of(atoms, name, labels),
        density=None if density is None else np.array(density, float),
        group=str(atoms.info.get("config_type", "")),
        charge=_charge(atoms),
        name=name,
    )


def _charge(atoms: Any) -> float:
    """The net charge that a frame's line tells."""
    found = next((atoms.info[key] for key in CHARGES if key in atoms.info), 0.0)
    return float(found) if isinstance(found, int | float | np.number) else 0.0
