"""What teachers say of structures: their labels on the scale of the DFT energies, in batches."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jax_models.errors import DatasetError
from jax_models.training.data.batches import Batch, Prepared, Shape, pack, prepare
from jax_models.training.data.structures import Structure
from jax_models.training.teachers.alignment import aligned_error, aligned_factor, aligned_references


@dataclass(frozen=True, eq=False)
class TeacherLabels:
    """A structure (its energy is not a number where DFT has not labelled it) and the labels of K teachers.

    What a teacher did not say is not a number.
    """

    structure: Structure
    energies: Float[np.ndarray, " K"]
    """eV"""
    forces: Float[np.ndarray, "N K 3"]
    """eV/Å"""
    virials: Float[np.ndarray, "K 3 3"]
    """dE/dstrain, eV"""

    def __len__(self) -> int:
        return len(self.structure)

    @property
    def labelled(self) -> bool:
        return bool(np.isfinite(self.structure.energy))


def only(teacher_labels: Sequence[TeacherLabels], teachers: Sequence[int]) -> list[TeacherLabels]:
    """With the labels of some of the teachers, in this order."""
    chosen = list(teachers)
    return [
        dataclasses.replace(t, energies=t.energies[chosen], forces=t.forces[:, chosen], virials=t.virials[chosen])
        for t in teacher_labels
    ]


def aligned(
    teacher_labels: Sequence[TeacherLabels],
    elements: Sequence[str],
    largest: float,
    scale: bool = True,
    uncertain: float = np.inf,
) -> list[TeacherLabels]:
    """Each teacher's energies with its reference energies, and its factor, made those of the labelled structures.

    Args:
        largest: eV/atom; energies that are further off than this, after that, are no label, nor are the forces beside
            them.
        scale: whether energies are multiplied too, and forces and virials with them.
        uncertain: eV/atom; where DFT has no label, energies of a larger standard error than this are none either.
    """
    counts = np.array([[t.structure.symbols.count(e) for e in elements] for t in teacher_labels], float)
    energies = np.array([t.energies for t in teacher_labels], float)
    # An isolated atom is the one place where methods differ by more than a constant an atom.
    labels = np.array([np.nan if t.structure.isolated else t.structure.energy for t in teacher_labels])
    factors, shifts = np.ones(energies.shape[1]), np.zeros_like(energies)
    for k in range(energies.shape[1]):
        both = np.isfinite(labels) & np.isfinite(energies[:, k])
        if both.any():
            factors[k], references = _scale_and_references(
                counts[both], energies[both, k], labels[both], largest, scale
            )
            shifts[:, k] = counts @ references
    moved = energies * factors + shifts
    per_atom = moved / counts.sum(axis=1)[:, None]
    center = np.nanmedian(np.where(np.isfinite(labels), labels / counts.sum(axis=1), np.nan))
    wild = ~(np.abs(per_atom - center) <= largest)
    if np.isfinite(uncertain):
        bare = np.array([not t.labelled for t in teacher_labels])
        for k in range(energies.shape[1]):
            wild[:, k] |= bare & (aligned_error(counts, np.where(wild[:, k], np.nan, moved[:, k]), labels) > uncertain)
    result = []
    for t, energy, bad in zip(teacher_labels, moved, wild, strict=True):
        forces, virials = t.forces * factors[:, None], t.virials * factors[:, None, None]
        forces[:, bad], virials[bad] = np.nan, np.nan
        result.append(TeacherLabels(t.structure, np.where(bad, np.nan, energy), forces, virials))
    return result


def _scale_and_references(
    counts: Float[np.ndarray, "B S"],
    energies: Float[np.ndarray, " B"],
    labels: Float[np.ndarray, " B"],
    largest: float,
    scale: bool,
) -> tuple[float, Float[np.ndarray, " S"]]:
    """A teacher's factor and what to add then, eV an atom of each element; not numbers for one that is mostly wild.

    The worst structure is left out until none is off by more than ``largest``: a single diverged energy would spoil a
    least-squares fit for all. A teacher whose energies fall where DFT's rise has nothing to say.
    """
    kept = np.arange(len(labels))
    while len(kept) >= 0.5 * len(labels):
        shift = aligned_references(counts[kept], (labels - energies)[kept])
        off = np.abs((labels - energies)[kept] - counts[kept] @ shift) / counts[kept].sum(axis=1)
        if off.max() <= largest:
            factor = aligned_factor(counts[kept], energies[kept], labels[kept]) if scale else 1.0
            if factor <= 0.0:
                break
            return factor, aligned_references(counts[kept], (labels - factor * energies)[kept])
        kept = np.delete(kept, off.argmax())
    return np.nan, np.full(counts.shape[1], np.nan)


def energy_errors(teacher_labels: Sequence[TeacherLabels]) -> Float[np.ndarray, "B K"]:
    """|teacher less DFT|, eV/atom, of labelled structures; infinite where a teacher says nothing."""
    found = [np.abs(t.energies - t.structure.energy) / len(t) for t in teacher_labels]
    return np.where(np.isfinite(found), found, np.inf)


def force_errors(t: TeacherLabels) -> Float[np.ndarray, "N K"]:
    """Length of each atom's force error, eV/Å; infinite where a teacher says nothing.

    Raises:
        DatasetError: the structure has no forces of its own.
    """
    if t.structure.forces is None:
        raise DatasetError(
            f"{t.structure.name} has no forces that those of its teachers could be compared with; label it with forces"
        )
    found = np.linalg.norm(t.forces - t.structure.forces[:, None], axis=-1)
    return np.where(np.isfinite(found), found, np.inf)


def ranking(teacher_labels: Sequence[TeacherLabels]) -> list[int]:
    """The teachers, closest to DFT first: median over the labelled structures of the error in forces, without these in
    energy."""
    labelled = [t for t in teacher_labels if t.labelled]
    labelled = [t for t in labelled if not t.structure.isolated] or labelled
    if any(t.structure.forces is None for t in labelled) or all(np.isnan(t.forces).all() for t in labelled):
        errors = energy_errors(labelled)
    else:
        errors = np.array([np.sqrt(np.mean(force_errors(t) ** 2, axis=0)) for t in labelled])
    return np.argsort(np.median(errors, axis=0), kind="stable").tolist()


class TeacherBatch(NamedTuple):
    """A `Batch` (whose own labels are DFT's), and K teachers' labels of it, zero where there is none."""

    batch: Batch
    energy: Float[Any, "B K"]
    """Less the reference energies."""
    energy_weight: Float[Any, "B K"]
    forces: Float[Any, "A K 3"]
    force_weight: Float[Any, "A K"]
    virial: Float[Any, "B K 3 3"]
    virial_weight: Float[Any, "B K"]


@dataclass(frozen=True, eq=False)
class PreparedTeacherLabels:
    """A `TeacherLabels` with its neighbours found."""

    teacher_labels: TeacherLabels
    prepared: Prepared
    reference: float
    """Sum of its atoms' reference energies, eV."""

    def __len__(self) -> int:
        return len(self.prepared)


def prepare_teacher_labels(
    teacher_labels: TeacherLabels,
    elements: Sequence[str],
    references: Float[np.ndarray, " S"],
    cutoff: float,
    forces: bool,
) -> PreparedTeacherLabels:
    """Neighbours, and the energies left to learn.

    Args:
        forces: whether the teachers' forces and stresses count.

    Raises:
        DatasetError: an element not in ``elements``, atoms at the same place, an unusable cell.
    """
    structure = teacher_labels.structure
    if not teacher_labels.labelled:
        structure = dataclasses.replace(structure, energy=0.0, forces=None, virial=None)
    if not forces:
        teacher_labels = dataclasses.replace(
            teacher_labels, forces=teacher_labels.forces * np.nan, virials=teacher_labels.virials * np.nan
        )
    prepared = prepare(structure, elements, references, cutoff)
    return PreparedTeacherLabels(teacher_labels, prepared, structure.energy - prepared.energy)


def pack_teacher_labels(members: Sequence[PreparedTeacherLabels], shape: Shape) -> TeacherBatch:
    """One batch of NumPy arrays in float32; structures without DFT labels have weight 0 in its `Batch`."""
    batch = pack([m.prepared for m in members], shape)
    k = len(members[0].teacher_labels.energies)
    a, b = shape.atoms, shape.structures
    energy, forces, virial = np.full((b, k), np.nan), np.full((a, k, 3), np.nan), np.full((b, k, 3, 3), np.nan)
    labelled = batch.energy_weight.copy()
    start = 0
    for number, m in enumerate(members):
        energy[number] = m.teacher_labels.energies - m.reference
        forces[start : start + len(m)] = m.teacher_labels.forces
        virial[number] = m.teacher_labels.virials
        labelled[number] *= m.teacher_labels.labelled
        start += len(m)
    batch = batch._replace(energy_weight=labelled)
    parts = []
    for value, axes in ((energy, ()), (forces, (-1,)), (virial, (-1, -2))):
        finite = np.isfinite(value)
        parts += [
            np.where(finite, value, 0.0).astype(np.float32),
            finite.all(axis=axes).astype(np.float32) if axes else finite.astype(np.float32),
        ]
    return TeacherBatch(batch, *parts)


def fingerprint_of_teachers(teacher_labels: Sequence[TeacherLabels]) -> str:
    """SHA-256 of all that teachers say, and of the structures."""
    digest = hashlib.sha256()
    for t in teacher_labels:
        for value in (t.structure.positions, t.structure.cell, t.energies, t.forces, t.virials):
            digest.update(np.ascontiguousarray(value, float).tobytes())
    return digest.hexdigest()
