"""Training by weak supervision, with the weight of the teachers' labels chosen where several are given."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jax_models.errors import DatasetError
from jax_models.heads import Heads
from jax_models.training.gradient.loop import Plan, fit
from jax_models.training.gradient.metrics import loss_of
from jax_models.training.gradient.trainer import (
    PreparedTraining,
    Supervised,
    Training,
    training_of,
)
from jax_models.training.teachers.case import Case
from jax_models.training.teachers.teacher_labels import (
    PreparedTeacherLabels,
)
from jax_models.training.teachers.weak import WeakSupervision

WEIGHT_FOLDS = 5
"""Parts of the labelled structures, one of which is set aside to choose among weights where there are no validation
data."""
FEW = 50
"""With fewer labelled structures each part is set aside once: two structures of ten say too little."""


def train_weakly(case: Case, preparation: PreparedTraining, origin: dict[str, Any]) -> Training:
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
