"""What `jaxff train` reads: labelled structures and, where teachers are asked for, what these say of all structures."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_models.errors import DatasetError
from jax_models.training.data.split import split
from jax_models.training.data.structures import Structure, check
from jax_models.training.settings import Settings
from jaxff.config import Config
from jaxff.io import check_asked, read_frames, read_structures
from jaxff.knowledge.teacher_label_files import read_teacher_files, teacher_labels_of, teacher_names
from jaxff.train.weights import weighted

if TYPE_CHECKING:
    from jax_models.training.teachers.teacher_labels import TeacherLabels

LEFT_OUT_IF_ABSENT = {"forces_key", "stress_key", "virial_key", "density_key"}
"""Keys of labels that training does without: a wrong one would otherwise not be noticed."""


@dataclass(frozen=True)
class TrainingData:
    """Structures to train on and to validate with; with teachers, also these as `TeacherLabels`."""

    structures: list[Structure]
    validation: list[Structure] | None
    files: list[Path]
    names: list[str] = field(default_factory=list)
    """The teachers."""
    labelled: list[TeacherLabels] = field(default_factory=list)
    unlabelled: list[TeacherLabels] = field(default_factory=list)
    held_out: list[TeacherLabels] | None = None

    def model(self, config: Config) -> tuple[dict[str, Any], float, Settings]:
        """Architecture, cutoff (Å) and settings of a training on these data."""
        return config.model.architecture(), config.model.cutoff_for(self.structures), config.settings()

    def validates_with(self, settings: Settings) -> list[Structure]:
        """The structures that a training by gradients will not see: those given, or a part that it sets aside."""
        if self.held_out is not None:
            return [t.structure for t in self.held_out]
        if self.validation is not None:
            return self.validation
        return split(self.structures, settings.validation_fraction, settings.seed)[1]

    def __str__(self) -> str:
        atoms = sum(len(s) for s in self.structures)
        forces, stresses = (sum(getattr(s, name) is not None for s in self.structures) for name in ("forces", "virial"))
        labels = f"{forces} with forces, {stresses} with a stress to train on"
        text = f"{len(self.structures)} structures, {atoms} atoms; {labels}"
        unusual = Counter(s.weight for s in self.structures if s.weight != 1.0)
        text += "".join(f"; {n} of weight {weight:g}" for weight, n in sorted(unusual.items()))
        if self.names:
            text += f"; {len(self.unlabelled)} structures without labels; teachers: {', '.join(self.names)}"
        return text


def read_training_data(paths: Sequence[Path], validation: Sequence[Path], config: Config) -> TrainingData:
    """The data that ``config`` asks for.

    Raises:
        DatasetError: a file that cannot be read, a frame without what it must have, or nothing to train on.
    """
    labels, weights = config.data.labels(), config.data.weights
    if config.knowledge.strategy == "none":
        read = [(path, s) for path in paths for s in read_structures(path, labels)]
        structures = weighted([s for _, s in read], [path for path, _ in read], weights)
        held_out = [s for path in validation for s in read_structures(path, labels)]
        data = TrainingData(structures, held_out or None, [*paths, *validation])
    else:
        more = [Path(path) for path in config.knowledge.unlabelled]
        found = [(path, *read_teacher_files([path], labels)) for path in (*paths, *more)]
        opinions = [said for _, part, _ in found for said in part]
        structures = weighted(
            [s for *_, part in found for s in part], [path for path, _, part in found for _ in part], weights
        )
        names = teacher_names(opinions)
        taught = [teacher_labels_of(said, s, names) for said, s in zip(opinions, structures, strict=True)]
        labelled, unlabelled = ([t for t in taught if t.labelled is wanted] for wanted in (True, False))
        others = [
            teacher_labels_of(said, s, names) for said, s in zip(*read_teacher_files(validation, labels), strict=True)
        ]
        bare = next((t.structure.name for t in others if not t.labelled), None)
        if bare is not None:
            raise DatasetError(f"{bare} has no energy: every validation frame needs one")
        data = TrainingData(
            [t.structure for t in labelled],
            None,
            [*paths, *more, *validation],
            names,
            labelled,
            unlabelled,
            others or None,
        )
    if not any(len(s) for s in data.structures):
        raise DatasetError(f"there are no labelled atoms in {', '.join(map(str, paths))}")
    if all(s.isolated for s in data.structures):
        raise DatasetError(f"there are only isolated atoms in {', '.join(map(str, paths))}: add structures with bonds")
    _check(data)
    # A key that is only written out at its default, as `jaxff config` does, asks for nothing.
    defaults = type(config.data).model_fields
    asked = sorted(k for k in LEFT_OUT_IF_ABSENT if getattr(config.data, k) != defaults[k].default)
    if asked:
        frames = [atoms for path in paths for atoms in read_frames(path)]
        check_asked(frames, {f"data.{key}": getattr(config.data, key) for key in asked})
    return data


def _check(data: TrainingData) -> None:
    """Every frame, before anything is made of it."""
    check(data.structures)
    held_out = data.validation or [t.structure for t in data.held_out or ()]
    # What only teachers have labelled has no energy, but positions all the same.
    others = [dataclasses.replace(t.structure, energy=0.0, forces=None, virial=None) for t in data.unlabelled]
    for part in (held_out, others):
        if part:
            check(part)
