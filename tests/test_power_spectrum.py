"""Pairs and power spectrum against sums over pairs and triplets of neighbours, written out in plain Python."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from descriptor_invariants import check_descriptor, cluster
from numpy.polynomial import chebyshev, legendre

from jax_models import ConfigError
from jax_models.descriptors.power_spectrum import PowerSpectrum

CUTOFF, NEAR = 5.0, 2.0


def radial(n, r):
    last = 1 / (1 + (CUTOFF / NEAR) ** 4)
    x = 2 * (1 / (1 + (r / NEAR) ** 4) - last) / (1 - last) - 1
    return chebyshev.chebval(x, np.eye(n + 1)[n]) * (1 - (r / CUTOFF) ** 2) ** 2


def by_definition(name, vectors, species):
    near = [(v, s, math.sqrt(v @ v)) for v, s in zip(vectors, species, strict=True) if v @ v < CUTOFF**2]
    if name["body_order"] == 2:
        return sum(radial(name["n"][0], r) for _, s, r in near if s == name["neighbors"][0])
    degree, total = name["l"][0], 0.0
    for v, s, r in near:
        for w, t, q in near:
            if [s, t] == name["neighbors"]:
                angle = legendre.legval(v @ w / (r * q), np.eye(degree + 1)[degree])
                total += radial(name["n"][0], r) * radial(name["n"][1], q) * angle
    return total


@pytest.mark.parametrize("elements", [1, 2])
def test_equals_its_definition(elements):
    with jax.enable_x64(True):
        neighborhood = cluster(elements=elements, cutoff=CUTOFF)
        descriptor = PowerSpectrum(elements, CUTOFF, pair_n=5, triplet_n=3, l_max=3, near=NEAR)
        features = np.asarray(descriptor(neighborhood))
        names = descriptor.feature_names
        assert len(names) == descriptor.n_features == features.shape[1]
        row = neighborhood.mask[0]
        given = neighborhood.vectors[0][row], neighborhood.neighbor_species[0][row]
        expected = np.array([by_definition(name, *given) for name in names])
        np.testing.assert_allclose(features[0], expected, atol=1e-10)


def test_is_a_descriptor():
    check_descriptor(
        lambda elements, cutoff: PowerSpectrum(elements, cutoff, pair_n=4, triplet_n=3, l_max=2), smooth_order=1
    )


def test_settings_out_of_range():
    with pytest.raises(ConfigError, match="triplet_n is 9; it must be between 1 and 4"):
        PowerSpectrum(1, 5.0, pair_n=4, triplet_n=9)
    with pytest.raises(ConfigError, match="near is -1.0"):
        PowerSpectrum(1, 5.0, near=-1.0)
