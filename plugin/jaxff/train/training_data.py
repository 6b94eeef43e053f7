"""What `jaxff train` reads: labelled structures and, where teachers are asked for, what these say of all structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_models.errors import DatasetError
from jax_models.training.data.structures import Structure
from jax_models.training.settings import Settings
from jaxff.config import Config
from jaxff.io import Labels, read_structures
from jaxff.knowledge.labelled_files import names_of, read_all_taught, taught_of

if TYPE_CHECKING:
    from jax_models.training.teachers.teacher_labels import TeacherLabels


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

    def __str__(self) -> str:
        atoms = sum(len(s) for s in self.structures)
        forces, stresses = (sum(getattr(s, name) is not None for s in self.structures) for name in ("forces", "virial"))
        text = f"{len(self.structures)} structures, {atoms} atoms; "
        text += f"{forces} with forces, {stresses} with a stress to train on"
        if self.names:
            text += f"; {len(self.unlabelled)} structures without labels; teachers: {', '.join(self.names)}"
        return text


def read_training_data(paths: Sequence[Path], validation: Sequence[Path], config: Config) -> TrainingData:
    """The data that ``config`` asks for.

    Raises:
        DatasetError: a file that cannot be read, a frame without what it must have, or nothing to train on.
    """
    labels = Labels(**config.data.model_dump())
    if config.knowledge.strategy == "none":
        structures, held_out = (
            [s for path in part for s in read_structures(path, labels)] for part in (paths, validation)
        )
        data = TrainingData(structures, held_out or None, [*paths, *validation])
    else:
        more = [Path(path) for path in config.knowledge.unlabelled]
        opinions, structures = read_all_taught([*paths, *more], labels)
        names = names_of(opinions)
        taught = [taught_of(said, s, names) for said, s in zip(opinions, structures, strict=True)]
        labelled, unlabelled = ([t for t in taught if t.labelled is wanted] for wanted in (True, False))
        others = [taught_of(said, s, names) for said, s in zip(*read_all_taught(validation, labels), strict=True)]
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
    return data
