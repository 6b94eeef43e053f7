"""Heads that differ as the data allow: the last layer fitted again to resampled structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from jax_models.heads import with_head
from jax_models.training.data.batches import Batch, Prepared, common_shape
from jax_models.training.gradient.metrics import fixed_batches
from jax_models.training.linear.equations import predictions, row_weights
from jax_models.training.settings import Settings

DIRECTIONS = 32
"""Parameters differentiated at once."""
FEWEST = 4
"""Structures that are used however dear they are."""
RIDGE = 1e-9
"""Of the largest eigenvalue of the normal equations: what the data leave open stays as it was trained."""
LEFT_OUT_RIDGE = 1e-6
"""The same where a structure is left out: one of few would else be predicted from nothing."""
LARGEST_INFLATION = 3.0
"""More than this is no longer a matter of the head."""


@dataclass(frozen=True)
class Bootstrap:
    """What the data leave open of a model's head."""

    heads: Float[np.ndarray, "M P"]
    """What each member's head has more than the model's own; they sum to zero."""
    inflation: float
    """Errors of structures that a head was not fitted to, over those of the training."""


def bootstrapped(model: Any, prepared: Sequence[Prepared], settings: Settings, budget: float) -> Bootstrap:
    """``settings.heads`` heads, fitted to resampled structures.

    The energy is linear in the head, so that its least-squares problem is solved exactly: once for each head, with each
    structure weighted at random (the Bayesian bootstrap; Rubin, Ann. Stat. 9, 130 (1981)). The trunk stays.

    Args:
        model: has a ``head()``, see `jax_models.heads`.
        prepared: the structures that it was trained on.
        settings: weights of the labels, number of heads and seed.
        budget: neighbours times parameters to differentiate for; where all structures would take more, some are drawn.
    """
    generator = np.random.default_rng([settings.seed, 12])
    n_parameters = sum(np.size(leaf) for leaf in jax.tree.leaves(model.head()))
    chosen: list[Prepared] = []
    spent = 0.0
    for index in generator.permutation(len(prepared)):
        spent += float(prepared[index].mask.sum()) * n_parameters
        if spent > budget and len(chosen) >= FEWEST:
            break
        chosen.append(prepared[index])
    matrices, sides, losses = _normal_equations(model, chosen, settings)
    largest = max(float(np.linalg.eigvalsh(matrices.sum(axis=0))[-1]), 1e-30)
    ridge = RIDGE * largest * np.eye(n_parameters)
    weights = generator.exponential(size=(settings.heads, len(chosen)))
    heads = np.array([
        np.linalg.solve(np.tensordot(w, matrices, axes=1) + ridge, w @ sides) for w in weights
    ])  # fmt: skip
    inflation = _left_out(matrices, sides, losses, LEFT_OUT_RIDGE * largest * np.eye(n_parameters))
    return Bootstrap(heads - heads.mean(axis=0), inflation)


def _left_out(matrices, sides, losses, ridge) -> float:
    """Root of the loss of each structure by a head fitted to all others, over the loss of the training."""
    if len(matrices) < 2:
        return LARGEST_INFLATION
    matrix, side = matrices.sum(axis=0) + ridge, sides.sum(axis=0)
    total = 0.0
    for a, b, loss in zip(matrices, sides, losses, strict=True):
        head = np.linalg.solve(matrix - a, side - b)
        total += loss - 2.0 * head @ b + head @ a @ head
    return float(np.clip(np.sqrt(max(total, 0.0) / max(losses.sum(), 1e-30)), 1.0, LARGEST_INFLATION))


def _normal_equations(
    model: Any, prepared: Sequence[Prepared], settings: Settings
) -> tuple[Float[np.ndarray, "G P P"], Float[np.ndarray, "G P"], Float[np.ndarray, " G"]]:
    """Of each structure, about the model's own head: matrix, right side, and the loss that it has."""
    derivatives = _derivatives(model)
    weights = row_weights(prepared, settings)
    shape = common_shape(prepared, 1)
    matrices, sides, losses = [], [], []
    at = 0
    for batch in fixed_batches(prepared, shape):
        n = int(np.sum(batch.energy_weight > 0))
        found, columns = derivatives(jax.tree.map(jnp.asarray, batch))
        start = 0
        for number, p in enumerate(prepared[at : at + n]):
            atoms = slice(start, start + len(p))
            start += len(p)
            rows = _rows(p, number, atoms, found, columns, weights)
            jacobian = np.concatenate([part for part, _ in rows], axis=1)
            matrices.append(jacobian @ jacobian.T)
            left = np.concatenate([part for _, part in rows])
            sides.append(jacobian @ left)
            losses.append(left @ left)
        at += n
    return np.array(matrices), np.array(sides), np.array(losses)


def _rows(p: Prepared, number: int, atoms: slice, found, columns, weights) -> list[tuple[np.ndarray, np.ndarray]]:
    """Derivatives [P, R] and what is left [R] of each kind of label of one structure, weighted."""
    energy, force, virial = np.sqrt(p.weight) * np.array(weights)
    n_parameters = len(columns[0])

    def of(weight, label, value, column):
        return weight * column.reshape(n_parameters, -1), weight * np.ravel(label - value)

    rows = [of(energy / len(p), p.energy, found[0][number], columns[0][:, number])]
    if p.forces is not None:
        rows.append(of(force, p.forces, found[1][atoms], columns[1][:, atoms]))
    if p.virial is not None:
        rows.append(of(virial / len(p), p.virial, found[2][number], columns[2][:, number]))
    return rows


def _derivatives(model: Any):
    """A function of a batch: energies, forces and virials, and their derivatives by each parameter of the head."""
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), model.head()))
    padded = -(-len(flat) // DIRECTIONS) * DIRECTIONS
    directions = jnp.eye(padded, len(flat)).reshape(-1, DIRECTIONS, len(flat))

    @eqx.filter_jit
    def compute(model: Any, batch: Batch):
        predict = lambda head: predictions(with_head(model, unravel(head)), batch)  # noqa: E731
        along = jax.vmap(lambda direction: jax.jvp(predict, (flat,), (direction,))[1])
        columns = jax.lax.map(along, directions)
        return predict(flat), [c.reshape(padded, *c.shape[2:])[: len(flat)] for c in columns]

    def run(batch: Batch) -> tuple[list[np.ndarray], list[np.ndarray]]:
        found, columns = compute(model, batch)
        return [np.asarray(part, float) for part in found], [np.asarray(part, float) for part in columns]

    return run
