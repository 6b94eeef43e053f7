"""Neighbourhoods: vectors of pairs, padding that may hold anything, elements by their place in a list."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from conftest import make_potential
from message_passing_potentials import message_passing_potential

from jax_models.derivatives import energies_and_gradient, forces
from jax_models.elements import element_indices
from jax_models.errors import DatasetError, StructureError
from jax_models.neighborhood import Neighborhood, neighborhood_of

CELL = np.array([[4.4, 0.0, 0.0], [1.1, 4.1, 0.0], [-0.7, 0.9, 4.8]])
POSITIONS = np.array([[0.1, 0.2, 0.3], [1.6, 1.9, 0.4], [2.9, 0.6, 2.5], [0.4, 2.8, 2.7]])
SYMBOLS = ["Si", "O", "O", "Si"]
CUTOFF = 3.6


def potential_of(name: str):
    if name in ("schnet", "painn", "mace", "nequip", "tensornet"):
        return message_passing_potential(name)
    points = {"reference_points": "bonds"} if name.endswith("bonds") else {}
    return make_potential(("Si", "O"), CUTOFF, architecture={"descriptor": {"name": name.split()[0]}, **points})


@pytest.mark.parametrize(
    "name",
    [
        *("ace", "ace bonds", "acsf", "chebyshev", "gmp", "mbtr", "power_spectrum", "soap"),
        *("schnet", "painn", "mace", "nequip", "tensornet"),
    ],
)
def test_padding_may_hold_anything(name):
    """Zeros, not-a-numbers or a real neighbour's vector behind the mask change neither energies nor gradients."""
    potential = potential_of(name)
    with jax.enable_x64(True):
        model = potential.model_in(np.float64)
        nb = neighborhood_of(POSITIONS, CELL, True, potential.species_of(SYMBOLS), CUTOFF)
        expected, gradient = energies_and_gradient(model.energies, nb)
        n, k = nb.mask.shape
        for filling in (0.0, np.nan, 2.0):
            more = Neighborhood(
                np.concatenate(
                    [np.where(nb.mask[..., None], nb.vectors, filling), np.full((n, 5, 3), filling)], axis=1
                ),
                nb.species,
                *(np.pad(field, ((0, 0), (0, 5))) for field in (nb.neighbor_species, nb.mask, nb.neighbors)),
            )
            energies, found = energies_and_gradient(model.energies, more)
            np.testing.assert_allclose(energies, expected, rtol=0, atol=1e-11)
            np.testing.assert_allclose(found[:, :k], gradient, rtol=0, atol=1e-10)
            assert not np.asarray(found[:, k:]).any()


def test_a_bucket_adds_padding_and_nothing_else():
    species = np.zeros(4, int)
    plain, wide = (neighborhood_of(POSITIONS, CELL, True, species, CUTOFF, bucketed=b) for b in (False, True))
    k = plain.mask.shape[1]
    assert wide.mask.shape[1] % 4 == 0 and wide.mask.shape[1] >= k
    for ours, theirs in zip(wide, plain, strict=True):
        np.testing.assert_array_equal(ours[:, :k] if ours.ndim > 1 else ours, theirs)
    assert not wide.mask[:, k:].any()


def test_forces_of_rows_in_any_order_and_of_atoms_that_have_none():
    gradient = np.random.default_rng(0).normal(size=(3, 2, 3))
    neighbors = np.array([[0, 4], [2, 5], [1, 3]])  # 5 is padding
    expected = np.zeros((5, 3))
    for row, center in enumerate((4, 0, 2)):
        for k in range(2):
            expected[center] += gradient[row, k]
            if neighbors[row, k] < 5:
                expected[neighbors[row, k]] -= gradient[row, k]
    np.testing.assert_allclose(forces(gradient, neighbors, 5, np.array([4, 0, 2])), expected, atol=1e-15)
    np.testing.assert_allclose(
        forces(gradient, neighbors, 5), forces(gradient, neighbors, 5, np.arange(3)), rtol=0, atol=0
    )


def test_an_unknown_element_is_named():
    assert element_indices(["O", "Si", "O"], ("Si", "O")).tolist() == [1, 0, 1]
    with pytest.raises(StructureError, match="the potential has no parameters for C, H; it knows Si, O"):
        element_indices(["H", "Si", "C", "H"], ("Si", "O"))
    with pytest.raises(DatasetError, match="the data set has no parameters for Ge; it knows Si"):
        element_indices(["Ge"], ["Si"], owner="the data set", error=DatasetError)
