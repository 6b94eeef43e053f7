"""Features of zero mean and unit spread over the training atoms."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jax_models.training.batches import Batch

SMALLEST = 1e-3, 1e-6
"""A feature's spread is taken as at least this part of its mean, and of the largest spread: what hardly varies in the
training data must not explode outside them."""


def normalised(model: eqx.Module, batches: Sequence[Batch]) -> eqx.Module:
    """``model`` with ``feature_mean`` and ``feature_scale`` from the training atoms, if it has those."""
    if not hasattr(model, "feature_scale"):
        return model

    @eqx.filter_jit
    def describe(descriptor, nb):
        return descriptor(nb._replace(vectors=jnp.where(nb.mask[..., None], nb.vectors, 1.0)))

    n, total, squares = 0, 0.0, 0.0
    for batch in batches:
        values = np.asarray(describe(model.descriptor, jax.tree.map(jnp.asarray, batch.neighborhood)), float)
        values = values[batch.structure < len(batch.energy)]
        if n == 0:
            offset = values.mean(axis=0)  # squares about a nearby point lose no digits
        n += len(values)
        total = total + (values - offset).sum(axis=0)
        squares = squares + ((values - offset) ** 2).sum(axis=0)
    mean = offset + total / n
    spread = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0.0))
    floor = np.maximum(SMALLEST[0] * np.abs(mean), SMALLEST[1] * spread.max())
    spread = np.maximum(spread, np.where(floor > 0, floor, 1.0))
    new = jnp.asarray(mean, jnp.float32), jnp.asarray(1.0 / spread, jnp.float32)
    return eqx.tree_at(lambda m: (m.feature_mean, m.feature_scale), model, new)
