"""Weak supervision: a classifier on the shared trunk says which teacher to believe, structure by structure.

Shui et al., arXiv 2210.08047. On labelled structures the classifier learns which teacher comes closest to DFT ("none"
if the best is too far off); unlabelled structures get the labels of the predicted teacher, with a loss that forgets
outliers (Tukey's biweight). Beyond the paper: forces and stresses, and a choice for each atom instead of each
structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jax_models.derivatives import safe_padding
from jax_models.heads import Heads, structure_sums
from jax_models.neighborhood import bucket
from jax_models.training.data.batches import Shape, packs
from jax_models.training.gradient.losses import Counts, Errors, predict, predict_energies, weighed
from jax_models.training.gradient.metrics import count
from jax_models.training.gradient.trainer import Supervised
from jax_models.training.teachers.knowledge_settings import Knowledge
from jax_models.training.teachers.teacher_labels import (
    PreparedTeacherLabels,
    TeacherBatch,
    energy_errors,
    force_errors,
    pack_teacher_labels,
)

TUKEY = 4.6851
"""95 % efficiency on normal residuals."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""


class WeakBatch(NamedTuple):
    """Labelled and unlabelled structures in one batch; ``choice`` is the class of the labelled ones (K: none of
    them)."""

    teacher_batch: TeacherBatch
    choice: Int[Any, " C"]
    """Of each structure, or of each atom."""
    choice_weight: Float[Any, " C"]
    weak_weight: Float[Any, ""]
    """Of the teachers' labels."""


class WeakSupervision:
    """The objective of `Heads`: the energy, then K + 1 classes.

    Args:
        supervised: the objective on DFT's labels, which also validates.
        labelled: the labelled structures, with the teachers' labels where there are any.
        unlabelled: the others.
        weight: of the teachers' labels.
        epochs: of the training, in which the weight falls to zero where ``knowledge`` says so.
        knowledge: thresholds and weights.
    """

    def __init__(
        self,
        supervised: Supervised,
        labelled: Sequence[PreparedTeacherLabels],
        unlabelled: Sequence[PreparedTeacherLabels],
        weight: float,
        epochs: int,
        knowledge: Knowledge,
    ):
        self.supervised, self.labelled, self.unlabelled = supervised, labelled, unlabelled
        self.settings, self.weight, self.epochs, self.knowledge = supervised.settings, weight, epochs, knowledge
        self.by_atom = knowledge.choice == "environment"
        atoms = [
            max(self.settings.batch_structures * float(np.mean(sizes)), max(sizes))
            for sizes in (self._sizes(labelled), self._sizes(unlabelled))
        ]
        self.parts = [Shape(int(np.ceil(a)), 0, self.settings.batch_structures) for a in atoms]
        widest = bucket(max(p.prepared.mask.shape[1] for p in (*labelled, *unlabelled)))
        self.shape = Shape(sum(p.atoms for p in self.parts), widest, 2 * self.settings.batch_structures)
        self.counts = Counts(*(float(n) for n in count([p.prepared for p in labelled])))
        said = any(
            np.isfinite(p.teacher_labels.forces).any() or np.isfinite(p.teacher_labels.virials).any()
            for p in unlabelled
        )
        self.derivatives = supervised.derivatives or said

    def batches(self, epoch: int) -> Iterator[tuple[float, WeakBatch]]:
        """Every unlabelled structure once, with the labelled ones over and over beside them."""
        generator = np.random.default_rng([self.settings.seed, 5, epoch])
        runs = [
            packs(self._sizes(part), generator.permutation(len(part)).tolist(), shape)
            for part, shape in zip((self.labelled, self.unlabelled), self.parts, strict=True)
        ]
        steps = max(map(len, runs))
        for number in range(steps):
            of_labelled, of_unlabelled = (run[number % len(run)] for run in runs)
            members = [*(self.labelled[i] for i in of_labelled), *(self.unlabelled[i] for i in of_unlabelled)]
            left = max(0.0, 1.0 - 2.0 * (epoch + number / steps) / self.epochs) if self.knowledge.fade else 1.0
            yield number / steps, self._mixed(members, self.weight * left)

    def loss(self, model: Heads, batch: WeakBatch, energy_weight):
        teacher_batch, plain = batch.teacher_batch, batch.teacher_batch.batch
        weights = energy_weight, self.settings.force_weight, self.settings.stress_weight
        if self.derivatives:
            energies, forces, virials = predict(model.at(0), plain)
        else:
            energies, forces, virials = (
                predict_energies(model.at(0), plain),
                jnp.zeros_like(plain.forces),
                jnp.zeros_like(plain.virial),
            )
        per_atom = 1.0 / plain.n_atoms
        found = Errors(
            (energies - plain.energy) * per_atom * plain.energy_weight,
            (forces - plain.forces) * plain.force_weight[:, None],
            (virials - plain.virial) * (per_atom * plain.virial_weight)[:, None, None],
            jnp.zeros(0),
        )
        present = plain.energy_weight.sum(), 3 * plain.force_weight.sum(), 9 * plain.virial_weight.sum(), 0.0
        value = sum(
            w * jnp.sum(e**2) / jnp.maximum(n, 1.0)
            for w, e, n in zip(weights, weighed(found, plain), present, strict=False)
        )
        logits = self._logits(model, plain.neighborhood, plain.structure, len(plain.n_atoms))
        value = value + self.knowledge.classifier_weight * _cross_entropy(logits, batch.choice, batch.choice_weight)
        if self.weight > 0:
            of_structure, of_atom = self._teachers(jax.lax.stop_gradient(logits), teacher_batch)
            unlabelled = (plain.energy_weight == 0) & (jnp.sum(teacher_batch.energy_weight, axis=1) > 0)
            picked = [
                _picked(
                    (energies[:, None] - teacher_batch.energy) * per_atom[:, None],
                    teacher_batch.energy_weight,
                    of_structure,
                ),
                _picked(forces[:, None] - teacher_batch.forces, teacher_batch.force_weight, of_atom),
                _picked(
                    (virials[:, None] - teacher_batch.virial) * per_atom[:, None, None, None],
                    teacher_batch.virial_weight,
                    of_structure,
                ),
            ]
            rows = unlabelled, jnp.append(unlabelled, False)[plain.structure], unlabelled
            for w, (residual, known), row in list(zip(weights, picked, rows, strict=True))[
                : 3 if self.derivatives else 1
            ]:
                value = value + batch.weak_weight * w * robust_mean(residual, known & row)
        return value, jnp.array([jnp.sum(e**2) for e in found]) * jnp.array(self.counts) / jnp.maximum(
            jnp.array(present), 1.0
        ) / self._steps

    def validate(self, model: Heads) -> dict[str, float]:
        return self.supervised.validate(model.at(0))

    def choices(self, model: Heads, members: Sequence[PreparedTeacherLabels]) -> list[np.ndarray]:
        """The predicted class of each structure ([1]) or of each of its atoms ([N]); K means none."""
        result = []
        for run in packs(self._sizes(members), range(len(members)), self.shape):
            mixed = self._mixed([members[i] for i in run])
            plain = mixed.teacher_batch.batch
            logits = self._logits(model, plain.neighborhood, plain.structure, len(plain.n_atoms))
            of_structure, of_atom = (np.asarray(c) for c in self._teachers(logits, mixed.teacher_batch))
            result += [
                of_atom[plain.structure == n] if self.by_atom else of_structure[n : n + 1] for n in range(len(run))
            ]
        return result

    def classes(self, p: PreparedTeacherLabels) -> Int[np.ndarray, " C"]:
        """Which teacher is right about a labelled structure, or about each of its atoms; K: none."""
        if self.by_atom:
            found = (
                force_errors(p.teacher_labels)
                if p.teacher_labels.structure.forces is not None
                else np.full((len(p), p.teacher_labels.forces.shape[1]), np.inf)
            )
            limit = self.knowledge.none_above_force
        else:
            found, limit = energy_errors([p.teacher_labels]), self.knowledge.none_above
        return np.where(found.min(axis=1) <= limit, found.argmin(axis=1), found.shape[1])

    @property
    def _steps(self) -> int:
        return max(
            len(packs(self._sizes(part), range(len(part)), shape))
            for part, shape in zip((self.labelled, self.unlabelled), self.parts, strict=True)
        )

    @staticmethod
    def _sizes(members: Sequence[PreparedTeacherLabels]) -> list[int]:
        return [len(m) for m in members]

    def _mixed(self, members: Sequence[PreparedTeacherLabels], weight: float = 0.0) -> WeakBatch:
        teacher_batch = pack_teacher_labels(members, self.shape)
        n = self.shape.atoms if self.by_atom else self.shape.structures
        choice, certain = np.zeros(n, np.int32), np.zeros(n, np.float32)
        start = 0
        for number, m in enumerate(members):
            if m.teacher_labels.labelled and np.isfinite(m.teacher_labels.energies).any():
                rows = slice(start, start + len(m)) if self.by_atom else slice(number, number + 1)
                choice[rows], certain[rows] = self.classes(m), 1.0
            start += len(m)
        return WeakBatch(teacher_batch, choice, certain, np.float32(weight))

    def _logits(self, model: Heads, neighborhood, structure, number: int) -> Float[Array, "C K1"]:
        per_atom = model.outputs(safe_padding(neighborhood))[:, 1:]
        if self.by_atom:
            return per_atom
        ones = structure_sums(jnp.ones(len(per_atom)), structure, number)
        return structure_sums(per_atom, structure, number) / jnp.maximum(ones, 1.0)[:, None]

    def _teachers(
        self, logits: Float[Array, "C K1"], teacher_batch: TeacherBatch
    ) -> tuple[Int[Array, " B"], Int[Array, " A"]]:
        """The teacher believed about each structure and about each atom; K: none."""
        plain = teacher_batch.batch
        unknown_to = jnp.where(teacher_batch.energy_weight > 0, 0.0, -jnp.inf)
        unknown_to = jnp.pad(unknown_to, ((0, 1), (0, 1)))
        if not self.by_atom:
            of_structure = jnp.argmax(logits + unknown_to[:-1], axis=1)
            return of_structure, jnp.append(of_structure, 0)[plain.structure]
        mean = structure_sums(jax.nn.softmax(logits), plain.structure, len(plain.n_atoms))
        return jnp.argmax(mean + unknown_to[:-1], axis=1), jnp.argmax(logits + unknown_to[plain.structure], axis=1)


def robust_mean(residual: Float[Array, "*n"], used: Bool[Array, " B"]) -> Float[Array, ""]:
    """Mean over the used rows of Tukey's loss, for residuals in units of 1.4826 times their median size.

    In the residuals' own units squared: for small ones it is their mean square, so that its weight means the same as
    that of a mean squared error. The paper's is half of it over (1.4826 MAD)^2. The median size is about zero and not
    about the residuals' median: two to four labels that are off by the same amount lie close together, and by their own
    spread each would be an outlier without a gradient.
    """
    used = used.reshape(used.shape + (1,) * (residual.ndim - used.ndim)) & jnp.ones(residual.shape, bool)
    fixed = jnp.where(used, jax.lax.stop_gradient(residual), jnp.nan)
    size = jnp.nanmedian(jnp.abs(fixed))
    scale = NORMAL * jnp.where(size > 1e-6, size, 1e-6)
    x = jnp.where(used, residual, 0.0) / jax.lax.stop_gradient(jnp.nan_to_num(scale, nan=1.0))
    inside = 1.0 - jnp.minimum((x / TUKEY) ** 2, 1.0)
    loss = TUKEY**2 / 3.0 * (1.0 - inside**3) * jax.lax.stop_gradient(jnp.nan_to_num(scale, nan=1.0)) ** 2
    return jnp.sum(jnp.where(used, loss, 0.0)) / jnp.maximum(jnp.sum(used), 1.0)


def _picked(residual: Float[Array, "B K *rest"], known: Float[Array, "B K"], teacher: Int[Array, " B"]):
    """Residuals against the chosen teacher, and whether it was one (not "none") that said something."""
    n = known.shape[1]
    rows, safe_teacher = jnp.arange(len(teacher)), jnp.minimum(teacher, n - 1)
    return residual[rows, safe_teacher], (teacher < n) & (known[rows, safe_teacher] > 0)


def _cross_entropy(
    logits: Float[Array, "C K1"], choice: Int[Array, " C"], weight: Float[Array, " C"]
) -> Float[Array, ""]:
    of_choice = jnp.take_along_axis(jax.nn.log_softmax(logits), choice[:, None], axis=1)[:, 0]
    return -jnp.sum(of_choice * weight) / jnp.maximum(weight.sum(), 1.0)
