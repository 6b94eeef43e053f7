"""Transfer: a network with one head a teacher is trained on all teachers' labels; its trunk then starts another
training.

Shui et al., arXiv 2210.08047, with forces and stresses beside the energies. A structure shows the energies of all of
its teachers at every visit, and the forces of one of them, drawn anew each time: forces cost a backward pass each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jax_models.derivatives import safe_padding
from jax_models.heads import Heads, SelectedHeads, structure_sums
from jax_models.training.data.batches import Shape, packs
from jax_models.training.gradient.losses import Counts, Errors, predict, weighted_loss
from jax_models.training.settings import Settings
from jax_models.training.teachers.teacher_labels import PreparedTeacherLabels, TeacherBatch, pack_teacher_labels


class PretrainingBatch(NamedTuple):
    """A batch, and the teacher whose forces each structure shows."""

    teacher_batch: TeacherBatch
    teacher: Int[Any, " B"]


class Pretraining:
    """The objective of `Heads` on all teachers' labels.

    Args:
        teacher_labels: what is trained on.
        held_out: what chooses the best epoch.
        shape: of the batches.
        settings: weights of the loss, and the seed.
    """

    def __init__(
        self,
        teacher_labels: Sequence[PreparedTeacherLabels],
        held_out: Sequence[PreparedTeacherLabels],
        shape: Shape,
        settings: Settings,
    ):
        self.teacher_labels, self.shape, self.settings = teacher_labels, shape, settings
        self.sizes = [len(t) for t in teacher_labels]
        self.batches_per_epoch = len(packs(self.sizes, range(len(teacher_labels)), shape))
        energies = sum(int(np.isfinite(t.teacher_labels.energies).sum()) for t in teacher_labels)
        forces, virials = (
            float(sum(self._share(t, name) * size(t) for t in teacher_labels))
            for name, size in (("forces", _components), ("virials", lambda t: 9))
        )
        self.counts = Counts(energies, forces, virials)
        self.derivatives = forces + virials > 0
        self.held_out = [
            self._selected(list(run), held_out, 0)
            for run in packs([len(t) for t in held_out], range(len(held_out)), shape)
        ]
        self._errors = eqx.filter_jit(self._errors_of)

    def batches(self, epoch: int) -> Iterator[tuple[float, PretrainingBatch]]:
        order = np.random.default_rng([self.settings.seed, 3, epoch]).permutation(len(self.teacher_labels)).tolist()
        runs = packs(self.sizes, order, self.shape)
        for number, run in enumerate(runs):
            yield number / len(runs), self._selected(run, self.teacher_labels, epoch)

    def loss(self, model: Heads, batch: PretrainingBatch, energy_weight):
        found = self._errors_of(model, batch)
        weights = energy_weight, self.settings.force_weight, self.settings.stress_weight
        # The sum over an epoch's batches is the loss; a batch stands for as many as there are.
        value = self.batches_per_epoch * weighted_loss(found, self.counts, *weights)
        return value, jnp.array([jnp.sum(e**2) for e in found])

    def validate(self, model: Heads) -> dict[str, float]:
        squares, numbers = np.zeros(3), np.zeros(3)
        for batch in self.held_out:
            squares += [float(jnp.sum(e**2)) for e in self._errors(model, batch)[:3]]
            o, rows = batch.teacher_batch, np.arange(len(batch.teacher))
            atoms = o.force_weight * (batch.teacher_batch.batch.structure[:, None] < len(rows))
            numbers += [
                o.energy_weight.sum(),
                3 * _of_teacher(atoms, batch).sum(),
                9 * o.virial_weight[rows, batch.teacher].sum(),
            ]
        names = ("energy_rmse", "force_rmse", "virial_rmse")
        return {name: float(np.sqrt(s / n)) for name, s, n in zip(names, squares, numbers, strict=True) if n}

    def _errors_of(self, model: Heads, selected: PretrainingBatch) -> Errors:
        """Energies of all teachers (eV/atom), forces and virials (eV/atom) of the drawn ones."""
        teacher_batch, batch = selected.teacher_batch, selected.teacher_batch.batch
        n_structures = len(selected.teacher)
        outputs = model.outputs(safe_padding(batch.neighborhood))
        energies = structure_sums(outputs, batch.structure, n_structures)
        choice = jnp.append(selected.teacher, 0)[batch.structure]
        per_atom = 1.0 / batch.n_atoms
        of_energy = (energies - teacher_batch.energy) * teacher_batch.energy_weight * per_atom[:, None]
        if not self.derivatives:
            return Errors(of_energy, jnp.zeros_like(batch.forces), jnp.zeros_like(batch.virial), jnp.zeros(0))
        _, forces, virials = predict(SelectedHeads(model, choice), batch)
        rows, atoms = jnp.arange(n_structures), jnp.arange(len(choice))
        return Errors(
            of_energy,
            (forces - teacher_batch.forces[atoms, choice]) * teacher_batch.force_weight[atoms, choice][:, None],
            (virials - teacher_batch.virial[rows, selected.teacher])
            * (per_atom * teacher_batch.virial_weight[rows, selected.teacher])[:, None, None],
            jnp.zeros(0),
        )

    def _selected(self, run: list[int], source: Sequence[PreparedTeacherLabels], epoch: int) -> PretrainingBatch:
        teacher = np.zeros(self.shape.structures, np.int32)
        for number, index in enumerate(run):
            known = np.flatnonzero(np.isfinite(source[index].teacher_labels.energies))
            if len(known):
                teacher[number] = known[
                    np.random.default_rng([self.settings.seed, 4, epoch, index]).integers(len(known))
                ]
        return PretrainingBatch(pack_teacher_labels([source[i] for i in run], self.shape), teacher)

    @staticmethod
    def _share(t: PreparedTeacherLabels, name: str) -> float:
        """The part of its teachers that give ``name``."""
        given = np.isfinite(getattr(t.teacher_labels, name)).all(axis=(0, 2) if name == "forces" else (1, 2))
        known = np.isfinite(t.teacher_labels.energies)
        return float((given & known).sum() / max(known.sum(), 1))


def _components(t: PreparedTeacherLabels) -> int:
    return 3 * len(t)


def _of_teacher(values: np.ndarray, selected: PretrainingBatch) -> np.ndarray:
    """Of values [A, K], those of the teacher drawn for each atom's structure."""
    choice = np.append(selected.teacher, 0)[selected.teacher_batch.batch.structure]
    return values[np.arange(len(values)), choice]
