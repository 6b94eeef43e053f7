"""The gradient trainer: from labelled structures to a Potential."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jax_models.errors import TrainingError
from jax_models.models import build, completed
from jax_models.potential import Contract, Potential
from jax_models.training.batches import Batch, Prepared, common_shape, prepare, shuffled_batches
from jax_models.training.checkpoint import load_checkpoint, save_checkpoint
from jax_models.training.datasets import Structure, check, elements_of, fingerprint, reference_energies, split
from jax_models.training.losses import Counts, errors, weighted_loss
from jax_models.training.metrics import count, fixed_batches, loss_of, measure
from jax_models.training.normalise import normalised
from jax_models.training.optimizer import soap
from jax_models.training.settings import Settings

CHECKPOINT_SECONDS = 10.0
FEWEST_EPOCHS, MOST_EPOCHS = 20, 1000


@dataclass(frozen=True)
class Training:
    """What `train` returns."""

    potential: Potential
    history: list[dict[str, Any]]
    """One record an epoch: ``epoch``, ``learning_rate``, ``train`` and ``validation`` errors, ``loss``, ``seconds``."""


class State(eqx.Module):
    """All that changes from step to step."""

    parameters: Any
    average: Any
    optimizer: Any
    best: Any
    step: jax.Array


@dataclass(frozen=True)
class Plan:
    """The fixed side of a training run."""

    settings: Settings
    epochs: int
    has_forces: bool
    counts: Counts
    batches_per_epoch: int

    def learning_rate(self, progress: float) -> float:
        s = self.settings
        rise = min(1.0, progress / s.warmup) if s.warmup > 0 else 1.0
        return s.learning_rate * rise * (1.0 - progress)

    def energy_weight(self, progress: float) -> float:
        early = progress < 0.5 and self.has_forces
        return self.settings.early_energy_weight if early else self.settings.energy_weight


def train(
    structures: Sequence[Structure],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings | None = None,
    *,
    validation: Sequence[Structure] | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: Callable[[dict[str, Any], int], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Training:
    """Fit a potential to energies, and to forces and stresses where there are any.

    Deterministic: the same data, settings and machine give the same numbers, also after an interruption.

    Args:
        structures: training data.
        architecture: what `jax_models.models.build` takes.
        cutoff: Å.
        settings: see `Settings`.
        validation: chooses the best epoch; without it, a part of ``structures`` is set aside.
        checkpoint: a file that holds the state while training runs: a run that finds one goes on from there. It is
            removed at the end.
        progress: called after each epoch with its record and the number of epochs, and first with those of a resumed run.
        provenance: added to what the potential says of its origin.

    Raises:
        DatasetError: data that cannot be trained on; the text names the frame.
        ConfigError: a setting out of range.
        TrainingError: the loss is no longer finite, or the checkpoint belongs to another training.

    Example:
        >>> structures = read_structures("Si_train.xyz.xz")  # doctest: +SKIP
        >>> train(structures, {"descriptor": {"name": "ace"}}, cutoff=5.0).potential.save("si.jaxff")  # doctest: +SKIP
    """
    settings = settings or Settings()
    check(structures)
    if validation is None:
        structures, validation = split(structures, settings.validation_fraction, settings.seed)
    else:
        check(validation)
    elements = elements_of(structures)
    # A file of isolated atoms may hold more elements than this data set needs.
    structures = [s for s in structures if not s.isolated or s.symbols[0] in elements]
    references = reference_energies(structures, elements)
    prepared, held_out = ([prepare(s, elements, references, cutoff) for s in part] for part in (structures, validation))
    shape = common_shape([*prepared, *held_out], settings.batch_structures)
    train_batches, validation_batches = fixed_batches(prepared, shape), fixed_batches(held_out, shape)
    model = normalised(build(architecture, elements, cutoff, settings.seed), train_batches)
    architecture = completed(architecture)
    contract = Contract(elements, cutoff, layers=model.n_layers, kind=model.kind)
    plan = _plan(settings, prepared, len(train_batches))
    identity = _identity(structures, validation, architecture, cutoff, settings)

    parameters, static = eqx.partition(model, eqx.is_inexact_array)
    optimizer = soap()
    state = State(parameters, parameters, optimizer.init(parameters), parameters, jnp.zeros((), jnp.int32))
    # State and history change together in one assignment: an interruption never finds one without the other.
    reached: tuple[State, list[dict[str, Any]]] = state, []
    resumed = load_checkpoint(checkpoint, identity, state) if checkpoint is not None else None
    if resumed is not None:
        reached = resumed[0], resumed[1]["history"]
        for record in reached[1]:
            progress and progress(record, plan.epochs)
    step, evaluate = _compiled(static, optimizer, plan), eqx.filter_jit(errors)
    criterion = validation_batches or train_batches
    saved = time.monotonic()
    try:
        while not _finished(reached[1], plan):
            started = time.monotonic()
            state, history = reached
            state, record = _epoch(len(history), state, step, prepared, shape, plan)
            found = measure(evaluate, eqx.combine(state.average, static), criterion)
            weights = settings.energy_weight, settings.force_weight, settings.stress_weight
            record |= {"validation": found, "loss": loss_of(found, *weights)}
            if record["loss"] < min((r["loss"] for r in history), default=math.inf):
                state = eqx.tree_at(lambda s: s.best, state, state.average)
            reached = state, [*history, record | {"seconds": time.monotonic() - started}]
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(checkpoint, identity, reached)
                saved = time.monotonic()
            progress and progress(reached[1][-1], plan.epochs)
    except KeyboardInterrupt:
        if checkpoint is not None and reached[1]:
            _save(checkpoint, identity, reached)
        raise
    state, history = reached
    best = eqx.combine(state.best, static)
    metrics = {"train": measure(evaluate, best, train_batches)}
    if validation_batches:
        metrics["validation"] = measure(evaluate, best, validation_batches)
    origin = {
        "metrics": metrics,
        "settings": settings.to_dict(),
        "epochs": len(history),
        "best_epoch": 1 + int(np.argmin([r["loss"] for r in history])),
        "n_train": len(structures),
        "n_validation": len(validation),
        "data_sha256": fingerprint([*structures, *validation]),
        **(provenance or {}),
    }
    potential = Potential(contract, jax.tree.map(np.asarray, best), architecture, references, origin)
    return Training(potential, history)


def _save(checkpoint: str | os.PathLike, identity: str, reached: tuple[State, list[dict[str, Any]]]) -> None:
    save_checkpoint(checkpoint, identity, reached[0], {"history": reached[1]})


def _plan(settings: Settings, prepared: Sequence[Prepared], batches_per_epoch: int) -> Plan:
    epochs = settings.epochs
    if epochs is None:
        neighbors = sum(p.mask.sum() for p in prepared)
        epochs = int(np.clip(settings.neighbor_visits / max(neighbors, 1), FEWEST_EPOCHS, MOST_EPOCHS))
    has_forces = any(p.forces is not None for p in prepared) and settings.force_weight > 0
    return Plan(settings, epochs, has_forces, count(prepared), batches_per_epoch)


def _identity(structures, validation, architecture, cutoff, settings: Settings) -> str:
    described = {
        "data": fingerprint(structures),
        "validation": fingerprint(validation),
        "architecture": architecture,
        "cutoff": cutoff,
        "settings": settings.to_dict(),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _finished(history: list[dict[str, Any]], plan: Plan) -> bool:
    if len(history) >= plan.epochs:
        return True
    if not history:
        return False
    since_best = len(history) - 1 - int(np.argmin([r["loss"] for r in history]))
    return since_best >= max(1.0, plan.settings.patience * plan.epochs)


def _compiled(static: Any, optimizer: Any, plan: Plan) -> Callable[..., tuple[State, jax.Array]]:
    """One optimiser step: state, batch, learning rate, energy weight -> state, sums of squared errors."""
    settings = plan.settings

    def loss(parameters, batch: Batch, energy_weight):
        found = errors(eqx.combine(parameters, static), batch)
        weights = energy_weight, settings.force_weight, settings.stress_weight
        # Every structure comes once an epoch: the sum over its batches, not each batch, is the loss over the data.
        value = plan.batches_per_epoch * weighted_loss(found, plan.counts, *weights)
        return value, jnp.array([jnp.sum(e**2) for e in found])

    @jax.jit
    def step(state: State, batch: Batch, learning_rate, energy_weight):
        (_, squares), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters, batch, energy_weight)
        direction, memory = optimizer.update(gradient, state.optimizer, state.parameters)
        parameters = jax.tree.map(lambda p, d: p - learning_rate * d, state.parameters, direction)
        # The average forgets its start: a fixed decay would keep the first, untrained weights for long.
        decay = jnp.minimum(settings.average, (1.0 + state.step) / (10.0 + state.step))
        average = jax.tree.map(lambda a, p: a + (1.0 - decay) * (p - a), state.average, parameters)
        return State(parameters, average, memory, state.best, state.step + 1), squares

    return step


def _epoch(number: int, state: State, step, prepared, shape, plan: Plan) -> tuple[State, dict[str, Any]]:
    squares = jnp.zeros(3)
    rate = weight = 0.0
    for part, batch in shuffled_batches(prepared, shape, plan.settings.seed, number):
        done = (number + part) / plan.epochs
        rate, weight = plan.learning_rate(done), plan.energy_weight(done)
        state, found = step(state, batch, np.float32(rate), np.float32(weight))
        squares = squares + found
    squares = np.asarray(squares, float)
    if not np.isfinite(squares).all():
        raise TrainingError(
            f"the errors are no longer finite in epoch {number + 1}: lower training.learning_rate "
            f"({plan.settings.learning_rate}), or look for wrong labels in the data"
        )
    sizes = zip(("energy", "force", "virial"), squares, plan.counts, strict=True)
    running = {f"{name}_rmse": float(np.sqrt(square / n)) for name, square, n in sizes if n}
    return state, {"epoch": number + 1, "learning_rate": rate, "energy_weight": weight, "train": running}
