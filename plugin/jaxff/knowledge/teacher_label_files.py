"""Files that `jaxff label` wrote, as arrays to train on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jax_models.training.data.structures import Structure
from jax_models.training.teachers.teacher_labels import TeacherLabels
from jaxff.io import Labels, read_teacher_frames


def read_teacher_files(paths: Sequence[Path], labels: Labels) -> tuple[list[dict[str, Any]], list[Structure]]:
    """The frames of all files; see `jaxff.io.read_teacher_frames`."""
    teachers, structures = [], []
    for path in paths:
        found = read_teacher_frames(path, labels)
        teachers += found[0]
        structures += found[1]
    return teachers, structures


def teacher_names(opinions: Sequence[dict[str, Any]]) -> list[str]:
    """The teachers, in the order in which they first appear."""
    return list(dict.fromkeys(name for frame in opinions for name in frame))


def teacher_labels_of(opinions: dict[str, Any], structure: Structure, names: Sequence[str]) -> TeacherLabels:
    """One frame with what each of ``names`` says of it."""
    n, k = len(structure), len(names)
    energies, forces, virials = np.full(k, np.nan), np.full((n, k, 3), np.nan), np.full((k, 3, 3), np.nan)
    for number, name in enumerate(names):
        said = opinions.get(name)
        if said is None:
            continue
        energies[number] = said["energy"]
        if said["forces"] is not None:
            forces[:, number] = said["forces"]
        if said["virial"] is not None:
            virials[number] = said["virial"]
    return TeacherLabels(structure, energies, forces, virials)
