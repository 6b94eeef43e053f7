"""Training with teachers: weak supervision, transfer, both, or a delta model on top of the best teacher."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jax_models.errors import ConfigError, DatasetError
from jax_models.models import build, sees_grid
from jax_models.potential import Potential
from jax_models.training.data.batches import Batch, common_shape, packs
from jax_models.training.data.structures import Structure, elements_of
from jax_models.training.gradient.heads import Heads, only_head
from jax_models.training.gradient.loop import Plan, Progress, fit
from jax_models.training.gradient.metrics import loss_of
from jax_models.training.gradient.trainer import (
    PreparedTraining,
    Supervised,
    Training,
    plan_of,
    prepare_training,
    train,
    training_of,
)
from jax_models.training.settings import Settings
from jax_models.training.teachers.knowledge_settings import Knowledge
from jax_models.training.teachers.teacher_labels import (
    PreparedTeacherLabels,
    TeacherLabels,
    aligned,
    energy_errors,
    fingerprint_of_teachers,
    only,
    pack_teacher_labels,
    prepare_teacher_labels,
    ranking,
)
from jax_models.training.teachers.transfer import Pretraining
from jax_models.training.teachers.weak import WeakSupervision

PRETRAINING_HELD_OUT = 0.05
WEIGHT_FOLDS = 5
"""Parts of the labelled structures, one of which is set aside to choose among weights where there are no validation
data."""
FEW = 50
"""With fewer labelled structures each part is set aside once: two structures of ten say too little."""


def train_with_knowledge(
    labelled: Sequence[TeacherLabels],
    unlabelled: Sequence[TeacherLabels],
    teachers: Sequence[str],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings,
    knowledge: Knowledge,
    *,
    validation: Sequence[TeacherLabels] | None = None,
    start: Potential | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: Progress | None = None,
    provenance: dict[str, Any] | None = None,
) -> Training:
    """Fit a potential to few DFT labels and many of teachers.

    Args:
        labelled: structures with DFT's labels, and teachers' where there are any.
        unlabelled: structures with teachers' labels alone.
        teachers: their names, in the order of the labels.
        knowledge: the strategy, and its settings.
        checkpoint: the state of each stage stands in a file of this name and the stage's.
        progress: records carry the name of their ``stage``.

    The other arguments are those of `jax_models.training.gradient.trainer.train`. The potential's provenance says under
    ``knowledge`` which teachers there were and how they did; under ``delta``, whose energies it must be added to.

    Raises:
        DatasetError: data that cannot be trained on, or that lack what the strategy needs.
        ConfigError: a setting out of range, an unknown teacher.
        TrainingError: the loss is no longer finite, or a checkpoint belongs to another training.
    """
    if knowledge.strategy == "none":
        raise ConfigError("knowledge.strategy is none: there is nothing to do for the teachers' labels")
    chosen = _indices(teachers, knowledge)
    names = [teachers[k] for k in chosen]
    parts = [labelled, unlabelled, validation or []]
    everything = only([t for part in parts for t in part], chosen)
    elements = elements_of([t.structure for t in labelled])
    known = [t for t in everything[: len(labelled)] if np.isfinite(t.energies).any()]
    if not known:
        raise DatasetError(
            f"no labelled structure has an energy of the teachers {', '.join(names)}: run `jaxff label` on the "
            "labelled structures too"
        )
    known_elements = sorted({*elements, *(e for t in everything for e in t.structure.symbols)})
    # Pretraining gains nothing from it (docs/knowledge.md), and a delta model is added to the teacher as it is.
    scale = knowledge.scale and knowledge.weak
    moved = aligned(everything, known_elements, knowledge.largest, scale, knowledge.none_above if scale else np.inf)
    order = ranking(moved[: len(labelled)])
    names = [names[k] for k in order]
    standing = _standing(only(moved[: len(labelled)], order), names)
    # A delta model is added to the teacher as it is: its own reference energies bring the two together.
    everything = only(everything if knowledge.strategy == "delta" else moved, order)
    ends = np.cumsum([0, *map(len, parts)])
    labelled, unlabelled, held_out = ([*everything[a:b]] for a, b in zip(ends[:-1], ends[1:], strict=True))
    case = Case(
        labelled,
        unlabelled,
        names,
        architecture,
        cutoff,
        settings,
        knowledge,
        held_out if validation is not None else None,
        start,
        checkpoint,
        progress,
    )
    origin: dict[str, Any] = {"strategy": knowledge.strategy, "settings": knowledge.to_dict(), "teachers": standing}
    if knowledge.strategy == "delta":
        return _delta(case, origin, provenance or {})
    if not unlabelled and knowledge.weak:
        raise DatasetError(
            "weak supervision needs structures that teachers have labelled and DFT has not; there are none in the data"
        )
    if knowledge.weak and knowledge.choice == "environment":
        bare = next(
            (t.structure.name for t in labelled if t.structure.forces is None and not t.structure.isolated), None
        )
        if bare is not None or not knowledge.forces:
            why = "knowledge.forces is false" if bare is None else f"{bare} has none"
            raise DatasetError(f"knowledge.choice environment judges teachers by forces, but {why}; use structure")
    preparation = case.prepare(settings)
    # Weak supervision may find no teacher good enough to be heard.
    heard = bool(case.heard()) or not knowledge.weak
    if knowledge.transfer and heard:
        preparation = _pretrained(case, preparation, origin)
    if not heard:
        origin["weight"] = 0.0
    training = _weak(case, preparation, origin) if knowledge.weak and heard else _fine_tuned(case, preparation)
    return dataclasses.replace(
        training,
        potential=dataclasses.replace(
            training.potential, provenance={**training.potential.provenance, **(provenance or {}), "knowledge": origin}
        ),
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


def _pretrained(case: Case, preparation: PreparedTraining, origin: dict[str, Any]) -> PreparedTraining:
    """With the trunk, and if so wished the head, of a network trained on every teacher."""
    settings = case.settings
    teacher_labels = [t for t in (*case.training_part(preparation), *case.heard()) if np.isfinite(t.energies).any()]
    members = case.prepared(preparation, teacher_labels)
    order = np.random.default_rng([settings.seed, 6]).permutation(len(members))
    n = max(1, round(PRETRAINING_HELD_OUT * len(members)))
    held_out, trained = ([members[i] for i in part] for part in (order[:n], order[n:] if len(order) > n else order))
    shape = common_shape([m.prepared for m in members], settings.batch_structures)
    objective = Pretraining(trained, held_out, shape, settings)
    neighbors = sum(int(m.prepared.mask.sum()) for m in trained)
    plan = Plan.of(_scaled(settings, case.knowledge.pretraining), neighbors, objective.counts.forces > 0)
    heads = Heads.of(preparation.model, len(case.names))
    best, history = fit(
        heads, objective, plan, identity=case.identity(preparation, "pretraining"), **case.files("pretraining")
    )
    origin["pretraining"] = {
        "epochs": len(history),
        "validation": min(history, key=lambda r: r["loss"])["validation"],
        "structures": len(trained),
    }
    if case.knowledge.head == "best":
        return dataclasses.replace(preparation, model=best.at(0))
    fresh: Any = build(preparation.architecture, preparation.data.elements, preparation.cutoff, settings.seed + 1)
    return dataclasses.replace(
        preparation, model=eqx.tree_at(lambda m: jax.tree.leaves(m.head()), best.at(0), jax.tree.leaves(fresh.head()))
    )


def _scaled(settings: Settings, factor: float) -> Settings:
    epochs = None if settings.epochs is None else max(1, round(factor * settings.epochs))
    return dataclasses.replace(settings, epochs=epochs, neighbor_visits=factor * settings.neighbor_visits)


def _fine_tuned(case: Case, preparation: PreparedTraining) -> Training:
    objective = Supervised(preparation.data, case.settings)
    frozen = only_head(preparation.model) if case.settings.trunk == "frozen" else None
    best, history = fit(
        preparation.model,
        objective,
        plan_of(case.settings, preparation.data),
        trained=frozen,
        identity=case.identity(preparation, "training"),
        **case.files("training"),
    )
    return training_of(best, history, objective, preparation, {})


def _weak(case: Case, preparation: PreparedTraining, origin: dict[str, Any]) -> Training:
    """With each weight; the best on validation data. Without these, the weight is chosen with parts of the labelled
    structures set aside, and then all of them are trained on."""
    weights = case.knowledge.weight
    if len(weights) > 1 and preparation.data.validation:
        found = {weight: _weak_run(case, preparation, weight, f"weight-{weight:g}") for weight in weights}
        losses = {weight: _validation_loss(training) for weight, (training, _) in found.items()}
        chosen = min(losses, key=losses.__getitem__)
        training, choices = found[chosen]
    else:
        losses = _cross_validated(case, preparation) if len(weights) > 1 else dict.fromkeys(weights, 0.0)
        chosen = min(losses, key=losses.__getitem__)
        training, choices = _weak_run(case, preparation, chosen, "training")
    if len(weights) > 1:
        origin["validation_loss"] = {f"{weight:g}": loss for weight, loss in losses.items()}
    origin |= {"weight": chosen, "choices": choices}
    return training


def _cross_validated(case: Case, preparation: PreparedTraining) -> dict[float, float]:
    """Loss of each weight on labelled structures set aside: of few labels each once, in trainings that are shorter for
    it."""
    folds = _folds(case)
    plan = _weak_plan(
        case, case.prepared(preparation, case.training_part(preparation)), case.prepared(preparation, case.heard())
    )
    epochs = max(1, plan.epochs // len(folds))
    losses: dict[float, list[float]] = defaultdict(list)
    for number, fold in enumerate(folds):
        part = dataclasses.replace(fold, settings=dataclasses.replace(case.settings, epochs=epochs))
        trial = dataclasses.replace(part.prepare(part.settings), model=preparation.model)
        for weight in case.knowledge.weight:
            training, _ = _weak_run(part, trial, weight, f"weight-{weight:g}-{number}")
            losses[weight].append(_validation_loss(training))
    return {weight: float(np.mean(of_folds)) for weight, of_folds in losses.items()}


def _validation_loss(training: Training) -> float:
    origin = training.potential.provenance
    settings = origin["settings"]
    return loss_of(
        origin["metrics"]["validation"], *(settings[f"{name}_weight"] for name in ("energy", "force", "stress"))
    )


def _folds(case: Case) -> list[Case]:
    """With a part of the labelled structures for validation, whatever their groups: these may be too small to share."""
    bound = [n for n, t in enumerate(case.labelled) if not t.structure.isolated]
    if len(bound) < WEIGHT_FOLDS:
        raise DatasetError(
            f"{len(bound)} labelled structures are too few to choose among knowledge.weight "
            f"{list(case.knowledge.weight)}: give one weight, or --valid"
        )
    order = np.random.default_rng([case.settings.seed, 7]).permutation(bound)
    folds = []
    for held_out in map(set, np.array_split(order, WEIGHT_FOLDS)[: WEIGHT_FOLDS if len(bound) < FEW else 1]):
        kept, others = (
            [t for n, t in enumerate(case.labelled) if (n in held_out) is wanted] for wanted in (False, True)
        )
        folds.append(dataclasses.replace(case, labelled=kept, validation=others))
    return folds


def _weak_plan(
    case: Case, labelled: Sequence[PreparedTeacherLabels], unlabelled: Sequence[PreparedTeacherLabels]
) -> Plan:
    neighbors = sum(int(p.prepared.mask.sum()) for p in (*labelled, *unlabelled))
    return Plan.of(case.settings, neighbors, any(p.prepared.forces is not None for p in labelled))


def _weak_run(
    case: Case, preparation: PreparedTraining, weight: float, stage: str
) -> tuple[Training, dict[str, dict[str, dict[str, int]]]]:
    """One training, and which teacher its classifier believes, by the structures' group."""
    supervised = Supervised(preparation.data, case.settings)
    labelled, unlabelled = (
        case.prepared(preparation, part) for part in (case.training_part(preparation), case.heard())
    )
    plan = _weak_plan(case, labelled, unlabelled)
    objective = WeakSupervision(supervised, labelled, unlabelled, weight, plan.epochs, case.knowledge)
    k = len(case.names)
    heads = Heads.of(preparation.model, k + 2)
    # The classifier starts without an opinion.
    heads = eqx.tree_at(
        lambda h: jax.tree.leaves(h.heads),
        heads,
        [jnp.asarray(leaf).at[1:].set(0.0) for leaf in jax.tree.leaves(heads.heads)],
    )
    frozen = None
    if case.settings.trunk == "frozen" and (case.knowledge.transfer or case.start is not None):
        frozen = eqx.tree_at(
            lambda h: h.heads, jax.tree.map(lambda leaf: False, heads), jax.tree.map(lambda leaf: True, heads.heads)
        )
    best, history = fit(
        heads, objective, plan, trained=frozen, identity=case.identity(preparation, stage), **case.files(stage)
    )
    choices = {"unlabelled": _counted(unlabelled, objective.choices(best, unlabelled), case.names)}
    right = [p for p in labelled if np.isfinite(p.teacher_labels.energies).any()]
    choices["labelled"] = _counted(right, objective.choices(best, right), case.names)
    choices["right"] = _counted(right, [objective.classes(p) for p in right], case.names)
    return training_of(best.at(0), history, supervised, preparation, {}), choices


def _counted(
    members: Sequence[PreparedTeacherLabels], classes: Sequence[np.ndarray], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """How often each teacher was chosen, by the structures' group."""
    found: dict[str, Counter] = defaultdict(Counter)
    for p, of_member in zip(members, classes, strict=True):
        found[p.teacher_labels.structure.group or "all"].update([*names, "none"][c] for c in of_member.tolist())
    return {group: dict(counts) for group, counts in sorted(found.items())}


def _delta(case: Case, origin: dict[str, Any], provenance: dict[str, Any]) -> Training:
    """Fit to what the teacher misses."""
    name = case.knowledge.teacher or case.names[0]
    if name not in case.names:
        raise ConfigError(f"knowledge.teacher is {name!r}; the data have {', '.join(case.names)}")
    k = case.names.index(name)
    structures = [_less(t, k, name) for t in case.labelled]
    held_out = None if case.validation is None else [_less(t, k, name) for t in case.validation]
    provenance = {**provenance, "knowledge": origin, "delta": {"teacher": name}}
    return train(
        structures,
        case.architecture,
        case.cutoff,
        case.settings,
        validation=held_out,
        provenance=provenance,
        start=case.start,
        **case.files("training"),
    )


def _standing(labelled: Sequence[TeacherLabels], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """How far each teacher is from DFT, aligned: median and root mean square, meV/atom."""
    errors = 1e3 * energy_errors(labelled)
    result: dict[str, dict[str, float]] = {}
    for name, column in zip(names, errors.T, strict=True):
        finite = column[np.isfinite(column)]
        result[name] = {"labels": len(finite)}
        if len(finite):
            result[name] |= {
                "energy_median_mev_per_atom": float(np.median(finite)),
                "energy_rmse_mev_per_atom": float(np.sqrt(np.mean(finite**2))),
            }
    return result


def _less(t: TeacherLabels, k: int, name: str) -> Structure:
    s = t.structure
    if not np.isfinite(t.energies[k]) or (s.forces is not None and not np.isfinite(t.forces[:, k]).all()):
        raise DatasetError(
            f"{s.name} lacks the energy or forces of {name}, which the delta model is to correct; label or remove it"
        )
    virial = None if s.virial is None or not np.isfinite(t.virials[k]).all() else s.virial - t.virials[k]
    forces = None if s.forces is None else s.forces - t.forces[:, k]
    return dataclasses.replace(s, energy=s.energy - t.energies[k], forces=forces, virial=virial)


def _indices(teachers: Sequence[str], knowledge: Knowledge) -> list[int]:
    wanted = teachers if knowledge.teachers is None else knowledge.teachers
    unknown = [name for name in wanted if name not in teachers]
    if unknown:
        raise ConfigError(
            f"knowledge.teachers names {', '.join(unknown)}; the data have labels of {', '.join(teachers) or 'none'}"
        )
    if not wanted:
        raise DatasetError("no structure has labels of teachers (energy_NAME): run `jaxff label` first")
    return [list(teachers).index(name) for name in wanted]
