"""A small potential of whole cells with random weights; compiles in seconds."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jax_models import Contract, Potential
from jax_models.models import build, completed

SCATTERING = {
    "name": "scattering",
    "n_max": 2,
    "l_max": 1,
    "beta_0": 1.0,
    "n_scales": 2,
    "orders": (1, 2),
    "powers": (1, 2),
}


def whole_cell_potential(elements=("Si", "O"), seed=0, **settings) -> Potential:
    architecture = completed({"descriptor": {**SCATTERING, **settings}})
    model = build(architecture, tuple(elements), 5.0)
    weights = np.random.default_rng(seed).normal(scale=0.02, size=model.readout.weights.shape)
    model = eqx.tree_at(lambda m: m.readout.weights, model, jnp.asarray(weights, jnp.float32))
    return Potential(Contract.of(model, elements, 5.0), model, architecture, np.arange(1.0, 1.0 + len(elements)) * -4.0)
