"""The gradient trainer: from labelled structures to a Potential."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jax_models.errors import ConfigError
from jax_models.models import build, completed, sees_whole_cell
from jax_models.potential import Contract, Potential
from jax_models.training.batches import Batch, Prepared, Shape, common_shape, prepare, shuffled_batches
from jax_models.training.datasets import Structure, check, elements_of, fingerprint, reference_energies, split
from jax_models.training.grid_batches import prepare_grid
from jax_models.training.loop import Plan, Progress, Record, fit
from jax_models.training.losses import errors, weighted_loss
from jax_models.training.metrics import count, fixed_batches, measure
from jax_models.training.normalise import normalised
from jax_models.training.settings import Settings


@dataclass(frozen=True)
class Training:
    """What `train` returns."""

    potential: Potential
    history: list[Record]
    """One record an epoch: ``epoch``, ``learning_rate``, ``train`` and ``validation`` errors, ``loss``, ``seconds``."""


@dataclass(frozen=True)
class Labelled:
    """The two parts of a data set, with neighbours found and in batches of one shape."""

    elements: tuple[str, ...]
    references: Float[np.ndarray, " S"]
    structures: list[Structure]
    validation: list[Structure]
    prepared: list[Prepared]
    shape: Shape
    train_batches: list[Batch]
    validation_batches: list[Batch]


class Supervised:
    """The plain objective: mean squared errors against the labels."""

    def __init__(self, data: Labelled, settings: Settings):
        self.data, self.settings = data, settings
        self.counts = count(data.prepared)
        self._errors = eqx.filter_jit(errors)

    def batches(self, epoch: int) -> Iterator[tuple[float, Batch]]:
        return shuffled_batches(self.data.prepared, self.data.shape, self.settings.seed, epoch)

    def loss(self, model: eqx.Module, batch: Batch, energy_weight):
        found = errors(model, batch)
        weights = energy_weight, self.settings.force_weight, self.settings.stress_weight, self.settings.density_weight
        # Every structure comes once an epoch: the sum over its batches, not each batch, is the loss over the data.
        value = len(self.data.train_batches) * weighted_loss(found, self.counts, *weights)
        return value, jnp.array([jnp.sum(e**2) for e in found])

    def validate(self, model: eqx.Module) -> dict[str, float]:
        return measure(self._errors, model, self.data.validation_batches or self.data.train_batches)

    def metrics(self, model: eqx.Module) -> dict[str, dict[str, float]]:
        """Errors on the training part and, where there is one, on the validation part."""
        found = {"train": measure(self._errors, model, self.data.train_batches)}
        if self.data.validation_batches:
            found["validation"] = measure(self._errors, model, self.data.validation_batches)
        return found


def train(
    structures: Sequence[Structure],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings | None = None,
    *,
    validation: Sequence[Structure] | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: Progress | None = None,
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
        checkpoint: a file that holds the state while training runs: a run that finds one goes on from there.
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
    if sees_whole_cell(architecture):
        raise ConfigError("a model of whole cells is not trained by gradients; set training.method=linear")
    data = labelled(structures, cutoff, settings, validation, rows=lambda elements: rows_of(build(architecture, elements, cutoff)))
    model = normalised(build(architecture, data.elements, cutoff, settings.seed), data.train_batches)
    architecture = completed(architecture)
    objective = Supervised(data, settings)
    key = identity(data, architecture, cutoff, settings)
    best, history = fit(model, objective, plan_of(settings, data), checkpoint=checkpoint, identity=key, progress=progress)
    return finished(best, history, objective, architecture, cutoff, provenance)


def labelled(
    structures: Sequence[Structure],
    cutoff: float,
    settings: Settings,
    validation: Sequence[Structure] | None = None,
    elements: tuple[str, ...] | None = None,
    references: Callable[[Sequence[Structure], Sequence[str]], Float[np.ndarray, " S"]] = reference_energies,
    rows: Callable[[tuple[str, ...]], Callable[..., Prepared]] = lambda elements: prepare,
) -> Labelled:
    """Checked, split, and in batches.

    Args:
        elements: those of the model; None: those of the data.
        references: the energy of each element, from the training part. Where densities are labelled it is zero: they
            hold all of the energy.
        rows: what prepares a structure for a model of these elements, see `rows_of`.

    Raises:
        DatasetError: data that cannot be trained on; the text names the frame.
    """
    check(structures)
    if validation is None:
        structures, validation = split(structures, settings.validation_fraction, settings.seed)
    else:
        check(validation)
    elements = elements or elements_of(structures)
    # A file of isolated atoms may hold more elements than this data set needs.
    structures = [s for s in structures if not s.isolated or s.symbols[0] in elements]
    dense = any(s.density is not None for s in structures)
    energies = np.zeros(len(elements)) if dense else references(structures, elements)
    prepare_rows = rows(elements)
    prepared, held_out = ([prepare_rows(s, elements, energies, cutoff) for s in part] for part in (structures, validation))
    shape = common_shape([*prepared, *held_out], settings.batch_structures)
    parts = fixed_batches(prepared, shape), fixed_batches(held_out, shape)
    return Labelled(elements, energies, structures, list(validation), prepared, shape, *parts)


def rows_of(model: eqx.Module) -> Callable[..., Prepared]:
    """What prepares a structure for ``model``: its atoms, or the points of a grid."""
    spacing = Contract.of(model, ("H",), 1.0).spacing
    return functools.partial(prepare_grid, spacing=spacing) if spacing else prepare


def plan_of(settings: Settings, data: Labelled) -> Plan:
    neighbors = sum(p.mask.sum() for p in data.prepared)
    return Plan.of(settings, neighbors, any(p.forces is not None for p in data.prepared))


def identity(data: Labelled, architecture: dict[str, Any], cutoff: float, settings: Settings, **more: Any) -> str:
    """A digest of all that a training's numbers depend on."""
    described = {
        "data": fingerprint(data.structures),
        "validation": fingerprint(data.validation),
        "architecture": architecture,
        "cutoff": cutoff,
        "settings": settings.to_dict(),
        **more,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def finished(
    model: eqx.Module,
    history: list[Record],
    objective: Supervised,
    architecture: dict[str, Any],
    cutoff: float,
    provenance: dict[str, Any] | None,
) -> Training:
    """The trained model as a potential that says where it comes from."""
    data = objective.data
    origin = {
        "metrics": objective.metrics(model),
        "settings": objective.settings.to_dict(),
        "epochs": len(history),
        "best_epoch": 1 + int(np.argmin([r["loss"] for r in history])),
        "n_train": len(data.structures),
        "n_validation": len(data.validation),
        "data_sha256": fingerprint([*data.structures, *data.validation]),
        **(provenance or {}),
    }
    contract = Contract.of(model, data.elements, cutoff)
    potential = Potential(contract, jax.tree.map(np.asarray, model), architecture, data.references, origin)
    return Training(potential, history)
