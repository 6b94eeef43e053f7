"""Small untrained message-passing potentials for the tests."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

ARCHITECTURES = {
    "mace": {"name": "mace", "hidden_irreps": "6x0e + 6x1o", "max_ell": 2, "correlation": 3, "radial_MLP": [8, 8]},
    "nequip": {
        "name": "nequip",
        "hidden_irreps": "6x0e + 4x1o",
        "embedding_channels": 5,
        "num_layers": 2,
        "num_bessels": 4,
        "radial_mlp": [8],
        "layer_norm": True,
    },
    "schnet": {"name": "schnet", "n_atom_basis": 12, "n_interactions": 2, "n_rbf": 10},
    "painn": {"name": "painn", "n_atom_basis": 10, "n_interactions": 2, "n_rbf": 6, "priors": [{"name": "zbl"}]},
    "tensornet": {"name": "tensornet", "units": 6, "nblocks": 1, "n_rbf": 5},
}


def message_passing_potential(name: str, elements=("Si", "O"), cutoff: float = 3.6, seed: int = 1, **settings):
    """An untrained potential whose biases, too, are random."""
    from jax_models import Contract, Potential
    from jax_models.models import build

    architecture = ARCHITECTURES[name] | settings
    model = build(architecture, tuple(elements), cutoff, seed)
    generator = np.random.default_rng(seed)

    def fill(leaf):
        return (
            generator.normal(scale=0.3, size=leaf.shape).astype(np.float32)
            if eqx.is_array(leaf) and not np.asarray(leaf).any()
            else leaf
        )

    model = jax.tree.map(fill, model)
    contract = Contract(tuple(elements), cutoff, layers=model.n_layers, kind=model.kind)
    return Potential(contract, model, architecture, np.arange(1.0, 1.0 + len(elements)) * -4.0)
