"""Case: one training with teachers, as everything that it was asked to do."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_models.errors import ConfigError
from jax_models.models import sees_grid
from jax_models.potential import Potential
from jax_models.training.data.batches import Batch, common_shape, packs
from jax_models.training.gradient.loop import Progress
from jax_models.training.gradient.trainer import (
    PreparedTraining,
    prepare_training,
)
from jax_models.training.settings import Settings
from jax_models.training.teachers.knowledge_settings import Knowledge
from jax_models.training.teachers.teacher_labels import (
    PreparedTeacherLabels,
    TeacherLabels,
    fingerprint_of_teachers,
    pack_teacher_labels,
    prepare_teacher_labels,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One training with teachers: what it was asked to do, with everything aligned and the best teacher first."""

    labelled: list[TeacherLabels]
    unlabelled: list[TeacherLabels]
    names: list[str]
    architecture: dict[str, Any]
    cutoff: float
    settings: Settings
    knowledge: Knowledge
    validation: list[TeacherLabels] | None
    start: Potential | None
    checkpoint: str | os.PathLike | None
    progress: Progress | None

    def prepare(self, settings: Settings) -> PreparedTraining:
        held_out = None if self.validation is None else [t.structure for t in self.validation]
        architecture = self.architecture if self.start is None else self.start.architecture
        if sees_grid(architecture):
            whose = "this is one" if self.start is None else "the potential to start from is one"
            raise ConfigError(
                f"knowledge.strategy {self.knowledge.strategy} does not train models that look from a grid, and "
                f"{whose}; use atoms, bonds, or knowledge.strategy=delta"
            )
        return prepare_training(
            [t.structure for t in self.labelled],
            self.architecture,
            self.cutoff,
            settings,
            held_out,
            self.start,
            self._all_batches,
        )

    def prepared(
        self, preparation: PreparedTraining, teacher_labels: Sequence[TeacherLabels]
    ) -> list[PreparedTeacherLabels]:
        return [
            prepare_teacher_labels(
                t, preparation.data.elements, preparation.data.references, preparation.cutoff, self.knowledge.forces
            )
            for t in teacher_labels
        ]

    def training_part(self, preparation: PreparedTraining) -> list[TeacherLabels]:
        """The labelled structures that are trained on."""
        by_identity = {id(t.structure): t for t in self.labelled}
        return [by_identity[id(s)] for s in preparation.data.structures]

    def heard(self) -> list[TeacherLabels]:
        """The unlabelled structures that a teacher has labelled."""
        return [t for t in self.unlabelled if np.isfinite(t.energies).any()]

    def files(self, stage: str) -> dict[str, Any]:
        """Checkpoint and progress of one stage."""
        progress = self.progress
        told = None if progress is None else lambda record, epochs: progress({"stage": stage, **record}, epochs)
        return {"checkpoint": None if self.checkpoint is None else f"{self.checkpoint}.{stage}", "progress": told}

    def identity(self, preparation: PreparedTraining, stage: str) -> str:
        teacher_labels = fingerprint_of_teachers([*self.labelled, *self.unlabelled])
        return preparation.identity(
            self.settings, knowledge=self.knowledge.to_dict(), teacher_labels=teacher_labels, stage=stage
        )

    def _all_batches(self, data) -> list[Batch]:
        """Features are scaled over unlabelled structures too."""
        members = [
            prepare_teacher_labels(t, data.elements, data.references, self.cutoff, False)
            for t in (*self.labelled, *self.unlabelled)
        ]
        shape = common_shape([m.prepared for m in members], self.settings.batch_structures)
        return [
            pack_teacher_labels([members[i] for i in run], shape).batch
            for run in packs([len(m) for m in members], range(len(members)), shape)
        ]
