"""How smoothly each model forgets a neighbour that leaves: what elastic constants, phonons and long runs rely on."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_models.derivatives import safe_padding
from jax_models.models import build
from jax_models.neighborhood import Neighborhood

CUTOFF = 5.0
FLAT_TO_SECOND_ORDER = {
    "ace": {"descriptor": {"name": "ace"}},
    "ace, five elements": {"descriptor": {"name": "ace"}, "elements": 5},
    "gmp": {"descriptor": {"name": "gmp"}},
    "mbtr": {"descriptor": {"name": "mbtr"}},
    "soap": {"descriptor": {"name": "soap"}},
    "schnet": {"name": "schnet"},
    "painn": {"name": "painn"},
    "mace": {"name": "mace", "hidden_irreps": "4x0e", "max_ell": 2, "correlation": 2, "radial_MLP": [8, 8]},
    "nequip": {"name": "nequip", "hidden_irreps": "4x0e + 2x1o", "l_max": 1, "num_layers": 2, "radial_mlp": [8]},
    "zbl": {"descriptor": {"name": "ace"}, "priors": [{"name": "zbl", "outer": CUTOFF}]},
}
FLAT_TO_FIRST_ORDER = {
    "acsf": {"descriptor": {"name": "acsf"}},
    "chebyshev": {"descriptor": {"name": "chebyshev"}},
    "power_spectrum": {"descriptor": {"name": "power_spectrum"}},
    "soap with m = 1": {
        "descriptor": {"name": "soap", "weighting": {"function": "poly", "c": 1.0, "m": 1.0, "r0": CUTOFF}}
    },
    "schnet with cosine": {"name": "schnet", "cutoff_fn": "cosine"},
    "painn with cosine": {"name": "painn", "cutoff_fn": "cosine"},
}


def derivatives_at_the_cutoff(architecture: dict) -> np.ndarray:
    """E, dE/dr and d2E/dr2 of a neighbour that is almost out of sight, as parts of their size where it is well seen."""
    architecture = dict(architecture)
    elements = ("Si", "Ge", "C", "O", "H")[: architecture.pop("elements", 1)]
    model = build(architecture, elements, CUTOFF)
    generator = np.random.default_rng(0)
    if hasattr(model, "readout"):
        model = eqx.tree_at(
            lambda m: m.readout,
            model,
            jax.tree.map(lambda leaf: generator.normal(size=leaf.shape) if eqx.is_array(leaf) else leaf, model.readout),
        )
    # Biases start at zero, and a filter's bias decides what is left at the cutoff.
    model = jax.tree.map(
        lambda leaf: generator.normal(scale=0.3, size=leaf.shape) if eqx.is_array(leaf) and not leaf.any() else leaf,
        model,
    )
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf, float) if eqx.is_inexact_array(leaf) else leaf, model)
    neighbors = np.array([[1, 2], [0, 2], [0, 1]])
    mask = np.ones((3, 2), bool)
    direction = np.array([0.0, 0.6, 0.8])

    def energy(r):
        positions = jnp.stack([jnp.zeros(3), jnp.array([2.3, 0.0, 0.0]), r * direction])
        vectors = positions[neighbors] - positions[:, None]
        nb = Neighborhood(vectors, np.zeros(3, np.int32), np.zeros((3, 2), np.int32), mask, neighbors)
        # The second neighbour never sees the third: one pair alone crosses the cutoff.
        nb = nb._replace(mask=np.array([[True, True], [True, False], [True, False]]))
        return jnp.sum(model.energies(safe_padding(nb)))

    force = jax.grad(energy)
    orders = jax.jit(lambda r: jnp.stack([energy(r), force(r), jax.grad(force)(r)]))
    without = np.array([float(orders(CUTOFF + 1.0)[0]), 0.0, 0.0])
    inside = np.max([np.abs(orders(r) - without) for r in (3.2, 3.7, 4.2)], axis=0)
    return np.abs(orders(CUTOFF * (1 - 1e-7)) - without) / inside


@pytest.mark.parametrize("name", [*FLAT_TO_SECOND_ORDER, *FLAT_TO_FIRST_ORDER])
def test_energy_is_flat_at_the_cutoff(name):
    with jax.enable_x64(True):
        energy, force, curvature = derivatives_at_the_cutoff((FLAT_TO_SECOND_ORDER | FLAT_TO_FIRST_ORDER)[name])
    assert energy < 1e-6
    assert force < 1e-3
    assert (curvature < 1e-3) == (name in FLAT_TO_SECOND_ORDER), curvature
