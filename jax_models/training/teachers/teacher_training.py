"""Training with teachers: weak supervision, transfer, both, or a delta model on top of the best teacher."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jax_models.errors import ConfigError, DatasetError
from jax_models.heads import Heads, only_head
from jax_models.models import build
from jax_models.potential import Potential
from jax_models.training.data.batches import common_shape
from jax_models.training.data.structures import Structure, elements_of
from jax_models.training.gradient.loop import Plan, Progress, fit
from jax_models.training.gradient.trainer import (
    PreparedTraining,
    Supervised,
    Training,
    plan_of,
    train,
    training_of,
)
from jax_models.training.settings import Settings
from jax_models.training.teachers.case import Case
from jax_models.training.teachers.knowledge_settings import Knowledge
from jax_models.training.teachers.teacher_labels import (
    TeacherLabels,
    aligned,
    energy_errors,
    only,
    ranking,
)
from jax_models.training.teachers.transfer import Pretraining
from jax_models.training.teachers.weak_training import train_weakly

PRETRAINING_HELD_OUT = 0.05


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
    training = train_weakly(case, preparation, origin) if knowledge.weak and heard else _fine_tuned(case, preparation)
    return dataclasses.replace(
        training,
        potential=dataclasses.replace(
            training.potential, provenance={**training.potential.provenance, **(provenance or {}), "knowledge": origin}
        ),
    )


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


def _delta(case: Case, origin: dict[str, Any], provenance: dict[str, Any]) -> Training:
    """Fit to what the teacher misses."""
    name = case.knowledge.teacher or case.names[0]
    if name not in case.names:
        raise ConfigError(f"knowledge.teacher is {name!r}; the data have {', '.join(case.names)}")
    structures = less_teacher(case.labelled, case.names, name)
    held_out = None if case.validation is None else less_teacher(case.validation, case.names, name)
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


def less_teacher(labelled: Sequence[TeacherLabels], names: Sequence[str], teacher: str) -> list[Structure]:
    """Structures labelled with what ``teacher``, one of ``names``, misses.

    Raises:
        DatasetError: one lacks the teacher's energy or forces.
    """
    k = list(names).index(teacher)
    return [_less(t, k, teacher) for t in labelled]


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
