"""Atomic cluster expansion with learned radial channels (Drautz, PRB 99, 014104; Darby et al., PRL 131, 028001).

Density coefficients A[c, l, m] = sum_j R_c,l(r_ij; z_i, z_j) Y_lm(r_ij) are multiplied channel by channel and
coupled to invariants: one A gives 2-body features, two give 3-body and three 4-body features. With enough learned
channels, products within a channel span the products across radial functions, and they are far fewer.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import real_coupling, spherical_harmonics
from jax_models.basis.contraction import mix_channels, sum_neighbors
from jax_models.basis.cutoff import polynomial_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.radial import chebyshev
from jax_models.basis.species import element_masks, select_element
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

MAX_DENSITIES = 4
"""Neighbour densities kept apart: one an element up to this many, learned mixtures of the elements beyond."""


class ACE(eqx.Module):
    """Features [N, F] of body order 2 to 4, F independent of the number of elements.

    Args:
        elements: number of elements.
        cutoff: Å.
        n_radial: Chebyshev functions the radial channels are mixed from.
        n_channels: learned radial channels, for each l a set of its own.
        l_max: highest degree of the harmonics, 0 to 6.
        body_order: 2, 3 or 4.
        key: seeds the radial channels.

    Raises:
        ConfigError: a setting is outside its range.
    """

    radial_weights: Float[Array, "S L C DB"]
    """Channels from (density, radial function), for each element of the centre and each l."""
    densities: Float[Array, "S D"] | None
    """How much a neighbour of each element adds to each density; None: each element has a density of its own."""
    cutoff: float = eqx.field(static=True)
    n_radial: int = eqx.field(static=True)
    n_channels: int = eqx.field(static=True)
    l_max: int = eqx.field(static=True)
    body_order: int = eqx.field(static=True)

    defaults: ClassVar[dict] = {"n_radial": 8, "n_channels": 16, "l_max": 3, "body_order": 4}

    def __init__(
        self,
        elements: int,
        cutoff: float,
        *,
        n_radial: int = 8,
        n_channels: int = 16,
        l_max: int = 3,
        body_order: int = 4,
        key: Array,
    ):
        for name, value, low, high in (
            ("n_radial", n_radial, 1, 64),
            ("n_channels", n_channels, 1, 256),
            ("l_max", l_max, 0, 6),
            ("body_order", body_order, 2, 4),
        ):
            if not low <= value <= high:
                raise ConfigError(f"ace: {name} is {value}; it must be between {low} and {high}")
        self.cutoff, self.n_radial, self.n_channels, self.l_max, self.body_order = (
            cutoff,
            n_radial,
            n_channels,
            l_max,
            body_order,
        )
        n_densities = min(elements, MAX_DENSITIES)
        key_radial, key_density = jax.random.split(key)
        self.densities = None
        if elements > MAX_DENSITIES:
            self.densities = jax.random.normal(key_density, (elements, n_densities)) / np.sqrt(n_densities)
        shape = (elements, l_max + 1, n_channels, n_densities * n_radial)
        # Training starts from smooth functions. A function that starts rough stays rough where there are no data, and
        # costs accuracy there (mlearn Mo: a third of the test error in energy).
        smooth = np.tile(1.0 / np.arange(1, n_radial + 1), n_densities)
        self.radial_weights = jax.random.normal(key_radial, shape) * (smooth / np.linalg.norm(smooth))

    @property
    def n_features(self) -> int:
        per_channel = (
            1 + (self.l_max + 1 if self.body_order >= 3 else 0) + (len(self._triples) if self.body_order >= 4 else 0)
        )
        return per_channel * self.n_channels

    @property
    def feature_names(self) -> list[dict]:
        """What each feature is: its body order, the degrees ``l`` of the densities multiplied, its channel."""
        products: list[tuple[int, tuple[int, ...]]] = [(2, (0,))]
        products += [(3, (degree, degree)) for degree in range(self.l_max + 1)] if self.body_order >= 3 else []
        products += [(4, triple) for triple in self._triples] if self.body_order >= 4 else []
        return [
            {"body_order": b, "l": list(degrees), "channel": c}
            for b, degrees in products
            for c in range(self.n_channels)
        ]

    @property
    def _triples(self) -> list[tuple[int, int, int]]:
        degrees = range(self.l_max + 1)
        return [
            (a, b, c)
            for a, b, c in itertools.combinations_with_replacement(degrees, 3)
            if c <= a + b and (a + b + c) % 2 == 0
        ]

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        a = self._density_coefficients(neighborhood)
        features = [a[0]]
        if self.body_order >= 3:
            spectrum = [
                _total(a[lm] * a[lm] for lm in range(degree**2, (degree + 1) ** 2)) for degree in range(self.l_max + 1)
            ]
            features += spectrum
        if self.body_order >= 4:
            for l1, l2, l3 in self._triples:
                # With l1 = 0 the coupling is a multiple of the identity.
                features.append(coupled_triple(a, l1, l2, l3) if l1 else a[0] * spectrum[l2] * (2 * l2 + 1) ** -0.5)
        # One array: without the barrier XLA multiplies each part by its own slice of the readout's weights.
        return jax.lax.optimization_barrier(jnp.concatenate(features)).T

    def _density_coefficients(self, neighborhood: Neighborhood) -> list[Float[Array, "C N"]]:
        """A[c, l, m] of every centre: a list over (l, m)."""
        r, direction = distances_and_directions(neighborhood)
        envelope = jnp.where(neighborhood.mask, polynomial_cutoff(r, self.cutoff), 0.0)
        t = jnp.minimum(r * (1.0 / self.cutoff), 1.0)
        radial = chebyshev(2.0 * t - 1.0, self.n_radial, envelope)
        n_elements = self.radial_weights.shape[0]
        dtype = r.dtype
        if n_elements > 1:
            kinds = element_masks(neighborhood.neighbor_species, n_elements, dtype)
            if self.densities is None:
                weights = kinds
            else:
                mixture = self.densities.astype(dtype)
                weights = [_total(mixture[s, d] * kinds[s] for s in range(n_elements)) for d in range(mixture.shape[1])]
            radial = [weight * value for weight in weights for value in radial]
        harmonics = spherical_harmonics(*direction, self.l_max)
        # Atoms last from here: the elementwise work then runs over contiguous memory.
        density = sum_neighbors(jnp.stack(radial, 1), jnp.stack(harmonics, 1)).transpose(2, 1, 0)
        degree = np.repeat(np.arange(self.l_max + 1), 2 * np.arange(self.l_max + 1) + 1)
        channels = (
            self.radial_weights.astype(dtype)[:, degree]
            .swapaxes(0, 1)
            .reshape(len(degree), n_elements * self.n_channels, -1)
        )
        mixed = mix_channels(channels, density)
        if n_elements > 1:
            per_element = mixed.reshape(len(degree), n_elements, self.n_channels, -1)
            mixed = select_element(per_element.swapaxes(0, 1), neighborhood.species)
        # The transpose of a split is one concatenation; the transpose of indexing is a padded copy for each index.
        return [m.squeeze(0) for m in jnp.split(mixed, len(degree))]


def coupled_triple(a: list[Float[Array, "C N"]], l1: int, l2: int, l3: int) -> Float[Array, "C N"]:
    """The invariant of three density coefficients of one channel, like terms gathered first."""
    terms: dict[tuple[int, ...], float] = {}
    coupling = real_coupling(l1, l2, l3)
    for m1, m2, m3 in np.argwhere(coupling):
        index = tuple(sorted((l1**2 + int(m1), l2**2 + int(m2), l3**2 + int(m3))))
        terms[index] = terms.get(index, 0.0) + float(coupling[m1, m2, m3])
    by_first: dict[int, list[Array]] = {}
    for (i, j, k), weight in sorted(terms.items()):
        by_first.setdefault(i, []).append(weight * a[j] * a[k])
    return _total(a[i] * _total(products) for i, products in by_first.items())


def _total(terms: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, terms)
