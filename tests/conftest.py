"""What every test shares: the folder of reference data, a cache of compiled models, a small potential."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def compiled_cache():
    """Compile each model once for all test runs on this machine."""
    from jaxff.runtime import configure

    configure()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the reference data is not at {SHARED_DATA}")
    return SHARED_DATA


def make_potential(elements=("Si",), cutoff=4.0, seed=1, architecture=None):
    """An untrained potential whose every parameter matters: readouts start at zero, so they get random numbers."""
    import equinox as eqx
    import jax

    from jax_models import Contract, Potential
    from jax_models.models import build

    architecture = architecture or {
        "descriptor": {"name": "ace", "n_channels": 4, "n_radial": 5, "l_max": 2},
        "priors": [{"name": "zbl"}],
    }
    model = build(architecture, tuple(elements), cutoff, seed)
    readout = model.readout
    generator = np.random.default_rng(seed)
    filled = jax.tree.map(
        lambda leaf: generator.normal(scale=0.05, size=leaf.shape).astype(np.float32) if eqx.is_array(leaf) else leaf,
        readout,
    )
    model = eqx.tree_at(lambda m: m.readout, model, filled)
    energies = np.arange(1.0, 1.0 + len(elements)) * -4.0
    return Potential(Contract.of(model, elements, cutoff), model, architecture, energies)


def make_grid_potential(elements, cutoff, architecture):
    """As `make_potential`, with forces of the order of eV/Å although densities and untrained features are small."""
    import dataclasses

    import equinox as eqx
    import jax

    potential = make_potential(elements, cutoff, architecture=architecture)
    model = eqx.tree_at(lambda m: m.feature_scale, potential.model, 20.0 * potential.model.feature_scale)
    model = eqx.tree_at(
        lambda m: m.readout, model, jax.tree.map(lambda a: 10.0 * a if eqx.is_array(a) else a, model.readout)
    )
    return dataclasses.replace(potential, model=model)


@pytest.fixture(scope="session")
def silicon_potential():
    return make_potential()


@pytest.fixture(scope="session")
def silica_potential():
    return make_potential(("Si", "O"))
