"""A model that is linear in its parameters as linear equations: a row for each label of a structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.derivatives import energies_and_gradient, safe_padding
from jax_models.errors import ConfigError
from jax_models.readouts import READOUTS
from jax_models.training.data.batches import Batch, Prepared, common_shape
from jax_models.training.data.grid_batches import GridBatch, gathered_from_points
from jax_models.training.gradient.losses import gathered_from_pairs
from jax_models.training.gradient.metrics import count, fixed_batches, summary
from jax_models.training.settings import Settings

DIRECTIONS = 32
"""Parameters differentiated at once: enough to share the descriptor's forward pass, few enough for the memory."""


@dataclass(frozen=True, eq=False)
class Equations:
    """``matrix @ parameters = target`` for one structure, in units of the labels: eV/atom, eV/Å, eV/atom (virial)."""

    matrix: Float[np.ndarray, "R P"]
    target: Float[np.ndarray, " R"]
    n_forces: int
    """The first row is the energy's, then come these, and the virial's nine, where there are any."""

    def weighted(self, energy: float, force: float, virial: float) -> Float[np.ndarray, "R P+1"]:
        """Rows, the target as last column, times the weight of their kind."""
        weights = np.full(len(self.target), virial)
        weights[0], weights[1 : 1 + self.n_forces] = energy, force
        return np.column_stack([self.matrix, self.target]) * weights[:, None]


def row_weights(prepared: Sequence[Prepared], settings: Settings) -> tuple[float, float, float]:
    """The roots of what the gradient trainer's loss gives each squared error of an energy, a force, a virial."""
    counts = count(prepared)
    weights = settings.energy_weight, settings.force_weight, settings.stress_weight
    energy, force, virial = (float(np.sqrt(weight / max(n, 1))) for weight, n in zip(weights, counts[:3], strict=True))
    return energy, force, virial


def check_linear(model: eqx.Module) -> None:
    """Refuse a model that is not linear in what is to be fitted.

    Raises:
        ConfigError: its readout is another, or it has none.
    """
    if not isinstance(getattr(model, "readout", None), READOUTS["linear"]):
        what = getattr(model, "readout", None)
        given = "a message-passing network" if what is None else f"the readout {type(what).__name__.lower()}"
        raise ConfigError(
            f"training.method is linear, but the model has {given}: set model.readout.name=linear with a descriptor, "
            "or training.method=gradient"
        )


def parameters_of(model: Any) -> Float[np.ndarray, " P"]:
    """The readout's weights, element by element, then its biases."""
    return np.concatenate([np.ravel(model.readout.weights), np.ravel(model.readout.bias)]).astype(float)


def with_parameters(model: Any, parameters: Float[Any, " P"]) -> Any:
    """``model`` with the readout that `parameters_of` would read ``parameters`` from."""
    shape = model.readout.weights.shape
    n = int(np.prod(shape))
    new = parameters[:n].reshape(shape), parameters[n:]
    return eqx.tree_at(lambda m: (m.readout.weights, m.readout.bias), model, new)


def equations(model: eqx.Module, prepared: Sequence[Prepared], forces: bool, stress: bool) -> Iterator[Equations]:
    """The equations of each structure, in order; what the model adds of its own (priors) is taken off the targets.

    Args:
        model: has a linear readout.
        prepared: in float64, or the features keep only seven digits.
        forces: rows for them, where labelled.
        stress: the same for virials.
    """
    shape = common_shape(prepared, 1)
    rows = _differentiated(model, forces or stress)
    at = 0
    for batch in fixed_batches(prepared, shape):
        n = int(np.sum(batch.energy_weight > 0))
        with jax.enable_x64(True):
            offset, columns = rows(jax.tree.map(jnp.asarray, batch))
        start = 0
        for number, p in enumerate(prepared[at : at + n]):
            atoms = slice(start, start + len(p))
            yield _of_structure(p, number, atoms, offset, columns, forces, stress)
            start += len(p)
        at += n


def _of_structure(p: Prepared, number: int, atoms: slice, offset, columns, forces: bool, stress: bool) -> Equations:
    n_parameters = len(columns[0])
    matrix = [columns[0][:, number, None] / len(p)]
    target: list[Any] = [[(p.energy - offset[0][number]) / len(p)]]
    n_forces = 0
    if forces and p.forces is not None:
        matrix.append(columns[1][:, atoms].reshape(n_parameters, -1))
        target.append(np.ravel(p.forces - offset[1][atoms]))
        n_forces = p.forces.size
    if stress and p.virial is not None:
        matrix.append(columns[2][:, number].reshape(n_parameters, -1) / len(p))
        target.append(np.ravel(p.virial - offset[2][number]) / len(p))
    return Equations(np.concatenate(matrix, axis=1).T, np.concatenate(target), n_forces)


def _differentiated(
    model: eqx.Module, derivatives: bool
) -> Callable[[Batch], tuple[list[np.ndarray], list[np.ndarray]]]:
    """A function of a batch: predictions with all parameters zero, and their derivative by each parameter."""
    n_parameters = len(parameters_of(model))
    at_once = min(DIRECTIONS, n_parameters)

    @eqx.filter_jit
    def compute(model, batch):
        predict = predictions if derivatives else _energies
        zero = jnp.zeros(n_parameters)
        if not derivatives:
            # There are fewer energies than parameters: backwards, a batch's features are computed once.
            energies = jax.jacrev(lambda parameters: predict(with_parameters(model, parameters), batch)[0])(zero)
            return predict(with_parameters(model, zero), batch), [energies.T]
        padded = -(-n_parameters // at_once) * at_once
        directions = jnp.eye(padded, n_parameters).reshape(-1, at_once, n_parameters)

        def along(direction):
            return jax.jvp(
                lambda parameters: predict(with_parameters(model, parameters), batch), (zero,), (direction,)
            )[1]

        columns = jax.lax.map(jax.vmap(along), directions)
        columns = [c.reshape(padded, *c.shape[2:])[:n_parameters] for c in columns]
        return predict(with_parameters(model, zero), batch), columns

    def run(batch):
        offset, columns = compute(model, batch)
        return [np.asarray(part) for part in offset], [np.asarray(part) for part in columns]

    return run


def _energies(model: Any, batch: Batch | GridBatch) -> list[Float[Array, "..."]]:
    return [_member(batch) @ (model.energies(safe_padding(batch.neighborhood)) * _volumes(batch))]


def predictions(model: Any, batch: Batch | GridBatch) -> list[Float[Array, "..."]]:
    """Energies [B], forces [A, 3] and virials [B, 3, 3]; forward differentiation goes through all of it."""

    nb = batch.neighborhood
    per_atom, gradient = energies_and_gradient(model.energies, nb)
    volumes = _volumes(batch)
    gradient, per_atom = gradient * volumes[:, None, None], per_atom * volumes
    virials = jnp.einsum("nka,nkb->nab", nb.vectors, gradient)
    if isinstance(batch, GridBatch):
        forces = gathered_from_points(gradient, batch.entries)
        virials = virials + per_atom[:, None, None] * jnp.eye(3)
    else:
        forces = gathered_from_pairs(gradient, batch.reverse, nb.mask)
    member = _member(batch)
    return [member @ per_atom, forces, (member @ virials.reshape(-1, 9)).reshape(-1, 3, 3)]


def _volumes(batch: Batch | GridBatch) -> Float[Array, " N"]:
    """What the model's output is multiplied by: the volume of a grid cell, 1 for atoms."""
    return batch.volume if isinstance(batch, GridBatch) else jnp.ones(len(batch.neighborhood.species))


def _member(batch: Batch | GridBatch) -> Float[Array, "B A"]:
    return (batch.structure == jnp.arange(len(batch.energy))[:, None]).astype(batch.neighborhood.vectors.dtype)


def feature_names(model: Any) -> list[dict[str, Any]]:
    """What the descriptor says of each feature; nothing where it says nothing."""
    descriptor = getattr(model.descriptor, "inner", model.descriptor)
    return getattr(descriptor, "feature_names", None) or [{} for _ in range(model.readout.weights.shape[1])]


def measured_by(found: Sequence[Equations], parameters: Float[np.ndarray, " P"]) -> dict[str, float]:
    """Errors as `measure` gives them, from equations instead of a model."""
    residuals = [e.matrix @ parameters - e.target for e in found]
    kinds = {
        "energy": [r[:1] for r in residuals],
        "force": [r[1 : 1 + e.n_forces] for r, e in zip(residuals, found, strict=True)],
        "virial": [r[1 + e.n_forces :] for r, e in zip(residuals, found, strict=True)],
    }
    return summary(kinds)
