"""Transfer: a network with one head a teacher is trained on all teachers' labels; its trunk then starts another
training.

Shui et al., arXiv 2210.08047, with forces and stresses beside the energies. A structure shows the energies of all of
its teachers at every visit, and the forces of one of them, drawn anew each time: forces cost a backward pass each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jax_models.training.data.batches import Shape, packs
from jax_models.training.gradient.heads import Heads, SelectedHeads, safe, structure_sums
from jax_models.training.gradient.losses import Counts, Errors, predict, weighted_loss
from jax_models.training.settings import Settings
from jax_models.training.teachers.teacher_labels import PreparedTeacherLabels, TeacherBatch, pack_taught


class PretrainingBatch(NamedTuple):
    """A batch, and the teacher whose forces each structure shows."""

    opinions: TeacherBatch
    teacher: Int[Array, " B"]


class Pretraining:
    """The objective of `Heads` on all teachers' labels.

    Args:
        taught: what is trained on.
        held_out: what chooses the best epoch.
        shape: of the batches.
        settings: weights of the loss, and the seed.
    """

    def __init__(
        self,
        taught: Sequence[PreparedTeacherLabels],
        held_out: Sequence[PreparedTeacherLabels],
        shape: Shape,
        settings: Settings,
    ):
        self.taught, self.shape, self.settings = taught, shape, settings
        self.sizes = [len(t) for t in taught]
        self.batches_per_epoch = len(packs(self.sizes, range(len(taught)), shape))
        energies = sum(int(np.isfinite(t.taught.energies).sum()) for t in taught)
        forces, virials = (
            float(sum(self._share(t, name) * size(t) for t in taught))
            for name, size in (("forces", _components), ("virials", lambda t: 9))
        )
        self.counts = Counts(energies, forces, virials)
        self.derivatives = forces + virials > 0
        self.held_out = [
            self._drawn(list(run), held_out, 0)
            for run in packs([len(t) for t in held_out], range(len(held_out)), shape)
        ]
        self._errors = eqx.filter_jit(self._errors_of)

    def batches(self, epoch: int) -> Iterator[tuple[float, PretrainingBatch]]:
        order = np.random.default_rng([self.settings.seed, 3, epoch]).permutation(len(self.taught)).tolist()
        runs = packs(self.sizes, order, self.shape)
        for number, run in enumerate(runs):
            yield number / len(runs), self._drawn(run, self.taught, epoch)

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
            o, rows = batch.opinions, np.arange(len(batch.teacher))
            atoms = o.force_weight * (batch.opinions.batch.structure[:, None] < len(rows))
            numbers += [
                o.energy_weight.sum(),
                3 * _of_teacher(atoms, batch).sum(),
                9 * o.virial_weight[rows, batch.teacher].sum(),
            ]
        names = ("energy_rmse", "force_rmse", "virial_rmse")
        return {name: float(np.sqrt(s / n)) for name, s, n in zip(names, squares, numbers, strict=True) if n}

    def _errors_of(self, model: Heads, drawn: PretrainingBatch) -> Errors:
        """Energies of all teachers (eV/atom), forces and virials (eV/atom) of the drawn ones."""
        opinions, batch = drawn.opinions, drawn.opinions.batch
        n_structures = len(drawn.teacher)
        outputs = model.outputs(safe(batch.neighborhood))
        energies = structure_sums(outputs, batch.structure, n_structures)
        choice = jnp.append(drawn.teacher, 0)[batch.structure]
        per_atom = 1.0 / batch.n_atoms
        of_energy = (energies - opinions.energy) * opinions.energy_weight * per_atom[:, None]
        if not self.derivatives:
            return Errors(of_energy, jnp.zeros_like(batch.forces), jnp.zeros_like(batch.virial), jnp.zeros(0))
        _, forces, virials = predict(SelectedHeads(model, choice), batch)
        rows, atoms = jnp.arange(n_structures), jnp.arange(len(choice))
        return Errors(
            of_energy,
            (forces - opinions.forces[atoms, choice]) * opinions.force_weight[atoms, choice][:, None],
            (virials - opinions.virial[rows, drawn.teacher])
            * (per_atom * opinions.virial_weight[rows, drawn.teacher])[:, None, None],
            jnp.zeros(0),
        )

    def _drawn(self, run: list[int], source: Sequence[PreparedTeacherLabels], epoch: int) -> PretrainingBatch:
        teacher = np.zeros(self.shape.structures, np.int32)
        for number, index in enumerate(run):
            known = np.flatnonzero(np.isfinite(source[index].taught.energies))
            if len(known):
                teacher[number] = known[
                    np.random.default_rng([self.settings.seed, 4, epoch, index]).integers(len(known))
                ]
        return PretrainingBatch(pack_taught([source[i] for i in run], self.shape), teacher)

    @staticmethod
    def _share(t: PreparedTeacherLabels, name: str) -> float:
        """The part of its teachers that give ``name``."""
        given = np.isfinite(getattr(t.taught, name)).all(axis=(0, 2) if name == "forces" else (1, 2))
        known = np.isfinite(t.taught.energies)
        return float((given & known).sum() / max(known.sum(), 1))


def _components(t: PreparedTeacherLabels) -> int:
    return 3 * len(t)


def _of_teacher(values: np.ndarray, drawn: PretrainingBatch) -> np.ndarray:
    """Of values [A, K], those of the teacher drawn for each atom's structure."""
    choice = np.append(drawn.teacher, 0)[drawn.opinions.batch.structure]
    return values[np.arange(len(values)), choice]
