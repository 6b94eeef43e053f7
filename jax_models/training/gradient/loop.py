"""The gradient loop: epochs of optimiser steps, a running average, the best epoch, interruption and resumption."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jax_models.errors import TrainingError
from jax_models.training.gradient.checkpoint import load_checkpoint, save_checkpoint
from jax_models.training.gradient.losses import Counts
from jax_models.training.gradient.metrics import loss_of
from jax_models.training.gradient.optimizer import soap
from jax_models.training.settings import Settings

CHECKPOINT_SECONDS = 10.0
FEWEST_EPOCHS, MOST_EPOCHS = 20, 1000

Record = dict[str, Any]
Progress = Callable[[Record, int], None]


class Objective(Protocol):
    """What a training minimises: its batches, their share of the loss, and the errors that choose the best epoch."""

    counts: Counts
    """Labels in one epoch: what the sums of squares are divided by where errors are reported."""

    def batches(self, epoch: int) -> Iterator[tuple[float, Any]]:
        """An epoch's batches, each with the part of the epoch that comes before it. All have the same shapes."""

    def loss(
        self, model: Any, batch: Any, energy_weight: Float[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, " Q"]]:
        """A batch's share of the loss, times the batches in an epoch; and its sums of squared errors in energy, force,
        virial and, where there may be any, density."""

    def validate(self, model: Any) -> dict[str, float]:
        """Errors as `metrics.measure` names them."""


@dataclass(frozen=True)
class Plan:
    """The course of a training: its length, and the weights and rates along it."""

    settings: Settings
    epochs: int
    has_forces: bool

    @staticmethod
    def of(settings: Settings, neighbors: int, has_forces: bool) -> Plan:
        """``neighbors``: those seen in one epoch, which set the number of epochs unless the settings do."""
        epochs = settings.epochs
        if epochs is None:
            epochs = int(np.clip(settings.neighbor_visits / max(neighbors, 1), FEWEST_EPOCHS, MOST_EPOCHS))
        return Plan(settings, epochs, has_forces and settings.force_weight > 0)

    def learning_rate(self, progress: float) -> float:
        s = self.settings
        rise = min(1.0, progress / s.warmup) if s.warmup > 0 else 1.0
        return s.learning_rate * rise * (1.0 - progress)

    def energy_weight(self, progress: float) -> float:
        early = progress < 0.5 and self.has_forces
        return self.settings.early_energy_weight if early else self.settings.energy_weight

    def finished(self, history: list[Record]) -> bool:
        if len(history) >= self.epochs:
            return True
        if not history:
            return False
        since_best = len(history) - 1 - int(np.argmin([r["loss"] for r in history]))
        return since_best >= max(1.0, self.settings.patience * self.epochs)


class State(eqx.Module):
    """All that changes from step to step."""

    parameters: Any
    average: Any
    optimizer: Any
    best: Any
    step: jax.Array


def fit(
    model: Any,
    objective: Objective,
    plan: Plan,
    *,
    trained: PyTree[bool] | None = None,
    checkpoint: str | os.PathLike | None = None,
    identity: str = "",
    progress: Progress | None = None,
) -> tuple[Any, list[Record]]:
    """``model`` with the parameters of its best epoch, and one record an epoch.

    Args:
        trained: which leaves of ``model`` change; None: every real-valued array.
        checkpoint: a file that holds the state while training runs: a run that finds one goes on from there.
        identity: tells which training a checkpoint belongs to.
        progress: called after each epoch with its record and the number of epochs, and first with those of a resumed
            run.

    Raises:
        TrainingError: the loss is no longer finite, or the checkpoint belongs to another training.
    """
    parameters, static = eqx.partition(model, eqx.is_inexact_array if trained is None else trained)
    optimizer = soap()
    state = State(parameters, parameters, optimizer.init(parameters), parameters, jnp.zeros((), jnp.int32))
    # State and history change together in one assignment: an interruption never finds one without the other.
    reached: tuple[State, list[Record]] = state, []
    resumed = load_checkpoint(checkpoint, identity, state) if checkpoint is not None else None
    if resumed is not None:
        reached = resumed[0], resumed[1]["history"]
        for record in reached[1]:
            progress and progress(record, plan.epochs)
    step = _compiled(static, optimizer, objective, plan.settings)
    settings = plan.settings
    weights = settings.energy_weight, settings.force_weight, settings.stress_weight, settings.density_weight
    saved = time.monotonic()
    try:
        while not plan.finished(reached[1]):
            started = time.monotonic()
            state, history = reached
            state, record = _epoch(len(history), state, step, objective, plan)
            found = objective.validate(eqx.combine(state.average, static))
            record |= {"validation": found, "loss": loss_of(found, *weights)}
            if record["loss"] < min((r["loss"] for r in history), default=math.inf):
                state = eqx.tree_at(lambda s: s.best, state, state.average)
            reached = state, [*history, record | {"seconds": time.monotonic() - started}]
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(checkpoint, identity, reached[0], {"history": reached[1]})
                saved = time.monotonic()
            progress and progress(reached[1][-1], plan.epochs)
        if checkpoint is not None:  # what comes after this training may be interrupted too
            save_checkpoint(checkpoint, identity, reached[0], {"history": reached[1]})
    except KeyboardInterrupt:
        if checkpoint is not None and reached[1]:
            save_checkpoint(checkpoint, identity, reached[0], {"history": reached[1]})
        raise
    state, history = reached
    return eqx.combine(state.best, static), history


def _compiled(
    static: Any, optimizer: Any, objective: Objective, settings: Settings
) -> Callable[..., tuple[State, jax.Array]]:
    """One optimiser step: state, batch, learning rate, energy weight -> state, sums of squared errors."""

    def loss(parameters, batch, energy_weight):
        return objective.loss(eqx.combine(parameters, static), batch, energy_weight)

    @jax.jit
    def step(state: State, batch, learning_rate, energy_weight):
        (_, squares), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters, batch, energy_weight)
        direction, memory = optimizer.update(gradient, state.optimizer, state.parameters)
        parameters = jax.tree.map(lambda p, d: p - learning_rate * d, state.parameters, direction)
        # The average forgets its start: a fixed decay would keep the first, untrained weights for long.
        decay = jnp.minimum(settings.average, (1.0 + state.step) / (10.0 + state.step))
        average = jax.tree.map(lambda a, p: a + (1.0 - decay) * (p - a), state.average, parameters)
        return State(parameters, average, memory, state.best, state.step + 1), squares

    return step


def _epoch(number: int, state: State, step, objective: Objective, plan: Plan) -> tuple[State, Record]:
    squares: Any = 0.0
    rate = weight = 0.0
    for part, batch in objective.batches(number):
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
    sizes = zip(("energy", "force", "virial", "density"), squares, objective.counts, strict=False)
    running = {f"{name}_rmse": float(np.sqrt(square / n)) for name, square, n in sizes if n}
    return state, {"epoch": number + 1, "learning_rate": rate, "energy_weight": weight, "train": running}
