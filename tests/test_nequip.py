"""NequIP's settings: chiral features, envelopes, elements of their own, training."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from message_passing_potentials import message_passing_potential
from test_message_passing import CELL, evaluate, random_atoms

from jax_models import ConfigError
from jax_models.message_passing.edges import xplor
from jax_models.message_passing.nequip import parse_irreps, paths
from jax_models.neighborhood import neighborhood_of

CHIRAL = {"hidden_irreps": "6x0e + 4x1e + 3x2e", "num_layers": 3, "layer_norm": False}


def test_even_parities_see_handedness_and_natural_ones_do_not():
    atoms = random_atoms(seed=11)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for settings, chiral in ((CHIRAL, True), (CHIRAL | {"hidden_irreps": "6x0e + 4x1o + 3x2e"}, False)):
        potential = message_passing_potential("nequip", **settings)
        with jax.enable_x64(True):
            species = potential.species_of(atoms.get_chemical_symbols())
            nb = neighborhood_of(atoms.positions, CELL, True, species, potential.cutoff)
            energy = jax.jit(lambda nb, model: model.energies(nb).sum())
            model = potential.model_in(np.float64)
            before, turned, mirrored = (
                float(energy(nb._replace(vectors=nb.vectors @ rotation), model))
                for rotation in (np.eye(3), turn, -turn)
            )
        assert turned == pytest.approx(before, abs=1e-10)
        assert (abs(mirrored - before) > 1e-6) == chiral


def test_a_layer_is_the_tensor_product_written_out_pair_by_pair():
    """The sum of R(r) x Y(r) of every neighbour, coupled one pair and path at a time."""
    from jax_models.basis.angular import real_coupling, spherical_harmonics

    potential = message_passing_potential("nequip", **CHIRAL)
    atoms = random_atoms(seed=12)
    species = potential.species_of(atoms.get_chemical_symbols())
    with jax.enable_x64(True):
        model = potential.model_in(np.float64)
        nb = neighborhood_of(atoms.positions, CELL, True, species, potential.cutoff)
        own, _ = model.first_layer(nb)
        found, _ = model.layer(1, nb, own, model.message(1, own)[nb.neighbors])
        layer, r = model.layers[1], np.linalg.norm(nb.vectors, axis=-1)
        radial = np.asarray(model.radial(1, r, nb.mask))
    own = [np.asarray(o) for o in own]
    x = [(o @ np.asarray(w))[nb.neighbors] for o, w in zip(own, layer.linear_up, strict=True)]
    unit = nb.vectors / r[..., None]
    y = np.stack(spherical_harmonics(unit[..., 2], unit[..., 0], unit[..., 1], 2), axis=-1)
    sums, start = [[], [], []], 0
    for l1, l2, results in paths(2, 2, 2, natural=False):
        for l3 in results:
            c = layer.channels_in[l1]
            factor = np.sqrt((2 * l3 + 1) * (2 * l2 + 1) / 20.0) * real_coupling(l1, l2, l3)
            term = np.einsum(
                "nkc,nkac,nkb,abm->nmc", radial[..., start : start + c], x[l1], y[..., l2**2 : (l2 + 1) ** 2], factor
            )
            sums[l3].append(term)
            start += c
    assert start == radial.shape[-1]
    linear = [np.concatenate(s, axis=-1) @ np.asarray(w) for s, w in zip(sums, layer.linear, strict=True)]
    rows = range(len(species))
    own_part = [
        np.stack([o[n] @ np.asarray(w)[species[n]] for n in rows])
        for o, w in zip(own, layer.self_connection, strict=True)
    ]
    before = [a + b for a, b in zip(linear, own_part, strict=True)]
    silu = before[0] / (1 + np.exp(-before[0]))
    expected = [silu[..., :6], before[1] * silu[..., 6:10], before[2] * silu[..., 10:]]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-11)


def test_only_some_elements_give_the_same_numbers():
    potential = message_passing_potential("nequip", elements=("H", "O", "Fe", "Si"))
    part = potential.only(("Si", "O"))
    assert part.model.embedding.shape[0] == 2
    atoms = random_atoms(seed=13)
    whole, found = evaluate(potential, atoms), evaluate(part, atoms)
    np.testing.assert_allclose(found["energies"], whole["energies"], atol=1e-11)
    np.testing.assert_allclose(found["forces"], whole["forces"], atol=1e-11)


def test_xplor_is_one_then_falls_to_zero_with_a_continuous_slope():
    r = np.linspace(0.1, 5.5, 5401)
    values = np.asarray(xplor(r, 5.0, 4.5))
    assert np.all(values[r <= 4.5] == 1) and np.abs(values[r >= 5]).max() < 1e-6
    assert np.all(np.diff(values) <= 1e-6)
    slope = np.gradient(values, r)
    assert np.abs(np.diff(slope)).max() < 0.05


def test_irreps():
    assert parse_irreps("128x0e + 64x1o+32x2e") == ((128, 64, 32), True)
    assert parse_irreps("128x0e+64x1e") == ((128, 64), False)
    for text in ("8x0o", "8x0e+8x1o+8x2o", "0x0e", "8", "8x0e+8x0e"):
        with pytest.raises(ConfigError, match="hidden_irreps"):
            parse_irreps(text)


def test_a_table_follows_xplor_across_its_kink():
    model = message_passing_potential("nequip", cutoff_fn="xplor", xplor_start=3.0).model
    r = np.concatenate([np.linspace(0.5, 3.65, 200), 3.0 + np.linspace(-0.02, 0.02, 41)])[None]
    mask = np.ones(r.shape, bool)

    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: np.asarray(leaf, float) if hasattr(leaf, "shape") else leaf, model)
        values, expected = jax.jvp(lambda x: double.radial(0, x, mask), (r,), (np.ones_like(r),))
        values, expected = np.asarray(values), np.asarray(expected)[..., 0]
    single = r.astype(np.float32)
    table = model.tabulated()
    size = np.abs(values).max()
    assert np.abs(table.radial(0, single, mask) - values).max() < 2e-6 * size
    found = jax.grad(lambda x: table.radial(0, x, mask)[..., 0].sum())(single)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.slow
def test_it_learns_in_a_few_epochs():
    from training_data import emt_structures

    from jax_models.training.gradient.trainer import train
    from jax_models.training.settings import Settings

    architecture = {"name": "nequip", "hidden_irreps": "8x0e + 4x1o", "l_max": 1, "num_layers": 2, "radial_mlp": [8]}
    settings = Settings(epochs=8, batch_structures=2, validation_fraction=0.0)
    history = train(emt_structures(8), architecture | {"embedding_channels": 8}, 4.2, settings).history
    losses = [record["loss"] for record in history]
    assert losses[-1] < 0.5 * losses[0]
