"""The Chebyshev descriptor against its definition, written out in plain Python."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from descriptor_invariants import check_descriptor, cluster

from jax_models import ConfigError
from jax_models.descriptors.chebyshev import Chebyshev


def by_definition(vectors, species, weights, cutoff, order):
    """science: radial_n = sum_j T_n(2r/rc - 1) fc, angular_n = sum_{j<k} T_n(cos) fc fc, then both weighted."""

    def fc(r):
        return 0.5 * (1 + math.cos(math.pi * r / cutoff)) if r < cutoff else 0.0

    distances = [math.sqrt(sum(c * c for c in v)) for v in vectors]
    near = [j for j, r in enumerate(distances) if r < cutoff]
    features = []
    for s in [[1] * len(near), [weights[species[j]] for j in near]] if len(weights) > 1 else [[1] * len(near)]:
        for n in range(order + 1):
            features.append(
                sum(
                    w * math.cos(n * math.acos(2 * distances[j] / cutoff - 1)) * fc(distances[j])
                    for w, j in zip(s, near, strict=True)
                )
            )
        for n in range(order + 1):
            total = 0.0
            for a in range(len(near)):
                for b in range(a + 1, len(near)):
                    j, k = near[a], near[b]
                    cosine = sum(p * q for p, q in zip(vectors[j], vectors[k], strict=True)) / (
                        distances[j] * distances[k]
                    )
                    angle = math.acos(max(-1.0, min(1.0, cosine)))
                    total += s[a] * s[b] * math.cos(n * angle) * fc(distances[j]) * fc(distances[k])
            features.append(total)
    return features


@pytest.mark.parametrize(("elements", "weights"), [(1, [1]), (2, [-1, 1]), (3, [-1, 0, 1]), (4, [-2, -1, 1, 2])])
def test_equals_its_definition(elements, weights):
    with jax.enable_x64(True):
        neighborhood = cluster(elements=elements, cutoff=6.0)
        features = np.asarray(Chebyshev(elements, 6.0)(neighborhood))
        for i in range(3):
            row = neighborhood.mask[i]
            expected = by_definition(
                neighborhood.vectors[i][row], neighborhood.neighbor_species[i][row], weights, 6.0, 10
            )
            np.testing.assert_allclose(features[i], expected, rtol=0, atol=1e-10)


def test_published_size_and_constant_growth():
    assert Chebyshev(1, 8.0).n_features == 22
    assert [Chebyshev(n, 8.0).n_features for n in (2, 3, 10)] == [44, 44, 44]


def test_what_every_descriptor_promises():
    check_descriptor(lambda elements, cutoff: Chebyshev(elements, cutoff, radial_n=6, angular_n=5), smooth_order=1)
    check_descriptor(
        lambda elements, cutoff: Chebyshev(elements, cutoff, radial_n=4, angular_n=4, angular_rc=3.0), smooth_order=1
    )


@pytest.mark.parametrize(
    "settings", [{"radial_n": -1}, {"angular_n": 17}, {"angular_rc": 9.0}, {"angular_rc": 0.0}, {"radial_n": 2.5}]
)
def test_bad_settings(settings):
    with pytest.raises(ConfigError, match="must be"):
        Chebyshev(2, 8.0, **settings)
