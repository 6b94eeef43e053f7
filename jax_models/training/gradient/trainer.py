"""The gradient trainer: from labelled structures to a Potential."""

from __future__ import annotations

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

from jax_models.contract import Contract
from jax_models.errors import ConfigError
from jax_models.heads import only_head
from jax_models.models import build, completed, sees_whole_cell
from jax_models.potential import Potential
from jax_models.training.data.batches import Batch, Prepared, Shape, common_shape, prepare, shuffled_batches
from jax_models.training.data.grid_batches import PreparedGrid, rows_of
from jax_models.training.data.short_range import with_repulsion
from jax_models.training.data.split import split
from jax_models.training.data.structures import Structure, check, elements_of, fingerprint, reference_energies
from jax_models.training.gradient.finetuning import Start
from jax_models.training.gradient.loop import Plan, Progress, Record, fit
from jax_models.training.gradient.losses import errors, weighed, weighted_loss
from jax_models.training.gradient.metrics import count, fixed_batches, measure
from jax_models.training.gradient.normalise import normalised, starting_at_mean_energy
from jax_models.training.settings import Settings


@dataclass(frozen=True)
class Training:
    """What `train` returns."""

    potential: Potential
    history: list[Record]
    """One record an epoch: ``epoch``, ``learning_rate``, ``train`` and ``validation`` errors, ``loss``, ``seconds``."""
    heads: Float[np.ndarray, "M P"] | None = None
    """Of a linear model: draws from what is known of its parameters, less the parameters; they sum to zero."""


@dataclass(frozen=True)
class Labelled:
    """The two parts of a data set, with neighbours found and in batches of one shape."""

    elements: tuple[str, ...]
    references: Float[np.ndarray, " S"]
    structures: list[Structure]
    validation: list[Structure]
    prepared: list[Prepared]
    held_out: list[Prepared]
    shape: Shape
    train_batches: list[Batch]
    validation_batches: list[Batch]


class Supervised:
    """The plain objective: mean squared errors against the labels."""

    def __init__(self, data: Labelled, settings: Settings):
        self.data, self.settings = data, settings
        self.counts = count(data.prepared)
        # Isolated atoms have forces, all zero, which are no reason to differentiate.
        self.derivatives = any(
            isinstance(p, PreparedGrid) or p.virial is not None or (p.forces is not None and len(p) > 1)
            for p in (*data.prepared, *data.held_out)
        )
        self._errors = eqx.filter_jit(lambda model, batch: errors(model, batch, self.derivatives))

    def batches(self, epoch: int) -> Iterator[tuple[float, Batch]]:
        return shuffled_batches(self.data.prepared, self.data.shape, self.settings.seed, epoch)

    def loss(self, model: eqx.Module, batch: Batch, energy_weight):
        found = errors(model, batch, self.derivatives)
        weights = energy_weight, self.settings.force_weight, self.settings.stress_weight, self.settings.density_weight
        # Every structure comes once an epoch: the sum over its batches, not each batch, is the loss over the data.
        value = len(self.data.train_batches) * weighted_loss(weighed(found, batch), self.counts, *weights)
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
    start: Potential | None = None,
) -> Training:
    """Fit a potential to energies, and to forces and stresses where there are any.

    Deterministic: the same data, settings and machine give the same numbers, also after an interruption.

    Args:
        structures: training data.
        architecture: what `jax_models.models.build` takes; where it says nothing of priors, it gets the repulsion of
            `jax_models.training.data.short_range`.
        cutoff: Å.
        settings: see `Settings`.
        validation: chooses the best epoch; without it, a part of ``structures`` is set aside.
        checkpoint: a file that holds the state while training runs: a run that finds one goes on from there.
        progress: called after each epoch with its record and the number of epochs, and first with those of a resumed
            run.
        provenance: added to what the potential says of its origin.
        start: a potential to start from instead of fresh parameters; it settles architecture and cutoff. Elements that
            it lacks are added.

    Raises:
        DatasetError: data that cannot be trained on; the text names the frame.
        ConfigError: a setting out of range, or elements that cannot be added to ``start``.
        TrainingError: the loss is no longer finite, or the checkpoint belongs to another training.

    Example:
        >>> structures = read_structures("Si_train.xyz.xz")  # doctest: +SKIP
        >>> train(structures, {"descriptor": {"name": "ace"}}, cutoff=5.0).potential.save("si.jaxff")  # doctest: +SKIP
    """
    settings = settings or Settings()
    preparation = prepare_training(structures, architecture, cutoff, settings, validation, start)
    objective = Supervised(preparation.data, settings)
    best, history = fit(
        preparation.model,
        objective,
        plan_of(settings, preparation.data),
        trained=only_head(preparation.model) if start is not None and settings.trunk == "frozen" else None,
        checkpoint=checkpoint,
        identity=preparation.identity(settings),
        progress=progress,
    )
    return training_of(best, history, objective, preparation, provenance)


@dataclass(frozen=True)
class PreparedTraining:
    """A training about to start: the model with its first parameters, and the data."""

    model: eqx.Module
    architecture: dict[str, Any]
    cutoff: float
    data: Labelled
    start: Potential | None

    def identity(self, settings: Settings, **more: Any) -> str:
        """A digest of all that a training's numbers depend on."""
        described = {
            "data": fingerprint(self.data.structures),
            "validation": fingerprint(self.data.validation),
            "architecture": self.architecture,
            "cutoff": self.cutoff,
            "settings": settings.to_dict(),
            "start": hash_of(self.model) if self.start is not None else None,
            **more,
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def prepare_training(
    structures: Sequence[Structure],
    architecture: dict[str, Any],
    cutoff: float,
    settings: Settings,
    validation: Sequence[Structure] | None = None,
    start: Potential | None = None,
    scaled_by: Callable[[Labelled], Sequence[Batch]] = lambda data: data.train_batches,
) -> PreparedTraining:
    """Data and first parameters, fresh or those of ``start``.

    Args:
        scaled_by: batches from which a fresh model takes the scales of its features.

    Raises:
        DatasetError: data that cannot be trained on; the text names the frame.
        ConfigError: a model that gradients do not train, or elements that cannot be added to ``start``.
    """
    if sees_whole_cell(architecture if start is None else start.architecture):
        raise ConfigError("a model of whole cells is not trained by gradients; set training.method=linear")
    if start is None:
        data = labelled(
            structures,
            cutoff,
            settings,
            validation,
            rows=lambda elements: rows_of(build(architecture, elements, cutoff)),
        )
        batches = scaled_by(data)
        architecture = with_repulsion(architecture, data.elements, cutoff, [*batches, *data.validation_batches])
        model = normalised(build(architecture, data.elements, cutoff, settings.seed), batches)
        model = starting_at_mean_energy(model, data.train_batches)
        return PreparedTraining(model, completed(architecture), cutoff, data, None)
    beginning = Start.of(start, structures, settings.seed)
    given = structures, start.cutoff, settings, validation, beginning.elements
    rows = lambda _: rows_of(beginning.model)  # noqa: E731
    bare = labelled(*given, lambda *_: np.zeros(len(beginning.elements)), rows)
    references = beginning.references(bare.structures, bare.train_batches)
    data = labelled(*given, lambda *_: references, rows)
    return PreparedTraining(beginning.model, start.architecture, start.cutoff, data, start)


def hash_of(model: eqx.Module) -> str:
    """SHA-256 of a model's arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)):
        digest.update(np.asarray(leaf, order="C").tobytes())
    return digest.hexdigest()


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
    prepared, held_out = (
        [prepare_rows(s, elements, energies, cutoff) for s in part] for part in (structures, validation)
    )
    shape = common_shape([*prepared, *held_out], settings.batch_structures)
    parts = fixed_batches(prepared, shape), fixed_batches(held_out, shape)
    return Labelled(elements, energies, structures, list(validation), prepared, held_out, shape, *parts)


def plan_of(settings: Settings, data: Labelled) -> Plan:
    neighbors = sum(p.mask.sum() for p in data.prepared)
    return Plan.of(settings, neighbors, any(p.forces is not None for p in data.prepared))


def training_of(
    model: eqx.Module,
    history: list[Record],
    objective: Supervised,
    preparation: PreparedTraining,
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
    contract = Contract.of(model, data.elements, preparation.cutoff)
    potential = Potential(contract, jax.tree.map(np.asarray, model), preparation.architecture, data.references, origin)
    return Training(potential, history)
