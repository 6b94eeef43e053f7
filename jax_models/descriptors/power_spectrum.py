"""Pairs and power spectrum: linear ACE up to three bodies with its orders written out (Drautz, PRB 99, 014104).

Density coefficients A[z, n, l, m] = sum_{j of element z} R_n(r_ij) Y_lm(r_ij) are kept apart by radial order and
element, not mixed into learned channels: every feature has radial orders and a degree, which a smoothness prior can
weigh.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import spherical_harmonics
from jax_models.basis.contraction import sum_neighbors
from jax_models.basis.cutoff import polynomial_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.radial import chebyshev
from jax_models.basis.species import element_masks
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

NEAR = 0.45
"""Of the cutoff: about a nearest-neighbour distance where the cutoff reaches the third to fifth shell."""


class PowerSpectrum(eqx.Module):
    """Features [N, F] of body order 2, A[z, n, 0, 0], and 3, sum_m A[z, n, l, m] A[z', n', l, m].

    By the addition theorem the second is a sum over pairs of neighbours: R_n(r_ij) R_n'(r_ik) P_l(cos jik), P_l the
    Legendre polynomials (harmonics are normalised to that), each neighbour once with itself.

    R_n(r) = T_n(x) fc(r): Chebyshev polynomials of x, which is 1/(1 + (r/near)^4) (the Agnesi transform,
    ACEpotentials.jl) moved to [-1, 1], so that a polynomial resolves neighbours near ``near`` best; fc = (1 -
    (r/cutoff)^2)^2. Forces are continuous at the cutoff; their derivative is not. The number of features grows with the
    square of the elements.

    Args:
        elements: number of elements.
        cutoff: Å.
        pair_n: radial functions of pairs.
        triplet_n: radial functions of triplets, the first of those of pairs.
        l_max: highest degree, 0 to 6.
        near: Å; None: 0.45 x cutoff.

    Raises:
        ConfigError: a setting is outside its range.

    Example:
        >>> PowerSpectrum(1, 6.0).n_features
        180
    """

    elements: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    pair_n: int = eqx.field(static=True)
    triplet_n: int = eqx.field(static=True)
    l_max: int = eqx.field(static=True)
    near: float = eqx.field(static=True)

    defaults: ClassVar[dict] = {"pair_n": 12, "triplet_n": 7, "l_max": 5, "near": None}

    def __init__(
        self,
        elements: int,
        cutoff: float,
        *,
        pair_n: int = 12,
        triplet_n: int = 7,
        l_max: int = 5,
        near: float | None = None,
        key: Array | None = None,
    ):
        for name, value, low, high in (
            ("pair_n", pair_n, 1, 64),
            ("triplet_n", triplet_n, 1, pair_n),
            ("l_max", l_max, 0, 6),
        ):
            if not (isinstance(value, int) and low <= value <= high):
                raise ConfigError(f"power_spectrum: {name} is {value}; it must be between {low} and {high}, and whole")
        if near is not None and not near > 0:
            raise ConfigError(f"power_spectrum: near is {near}; it must be a positive distance in Å")
        self.elements, self.cutoff, self.pair_n, self.triplet_n, self.l_max = (
            elements,
            float(cutoff),
            pair_n,
            triplet_n,
            l_max,
        )
        self.near = float(NEAR * cutoff if near is None else near)

    @property
    def n_features(self) -> int:
        first, _ = self._products
        return self.elements * self.pair_n + (self.l_max + 1) * len(first)

    @property
    def feature_names(self) -> list[dict]:
        """What each feature is: its body order, radial orders ``n`` and degree ``l``, and the neighbours' elements."""
        names = [
            {"body_order": 2, "l": [0], "n": [n], "neighbors": [z]}
            for z in range(self.elements)
            for n in range(self.pair_n)
        ]
        orders = np.stack(self._products, 1)
        for degree in range(self.l_max + 1):
            for pair in orders:
                z, n = np.divmod(pair, self.triplet_n)
                names.append({"body_order": 3, "l": [degree, degree], "n": n.tolist(), "neighbors": z.tolist()})
        return names

    @property
    def _products(self) -> tuple[np.ndarray, np.ndarray]:
        return np.triu_indices(self.elements * self.triplet_n)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        r, direction = distances_and_directions(neighborhood)
        envelope = jnp.where(neighborhood.mask, polynomial_cutoff(r, self.cutoff, 2), 0.0)
        # From 1 at r = 0 to -1 at the cutoff; padding lies anywhere.
        last = 1.0 / (1.0 + (self.cutoff / self.near) ** 4)
        t = jnp.minimum(r, self.cutoff) * (1.0 / self.near)
        x = (1.0 / (1.0 + (t * t) * (t * t)) - last) * (2.0 / (1.0 - last)) - 1.0
        radial = chebyshev(x, self.pair_n, envelope)
        kinds = [1.0] if self.elements == 1 else element_masks(neighborhood.neighbor_species, self.elements, r.dtype)
        pairs = jnp.stack([jnp.sum(kind * value, axis=1) for kind in kinds for value in radial])
        harmonics = jnp.stack(spherical_harmonics(*direction, self.l_max), 1)
        channels = jnp.stack([kind * value for kind in kinds for value in radial[: self.triplet_n]], 1)
        density = sum_neighbors(channels, harmonics).transpose(2, 1, 0)
        first, second = self._products
        features = [pairs]
        for degree in range(self.l_max + 1):
            a = density[degree**2 : (degree + 1) ** 2]
            features.append(jnp.sum(a[:, first] * a[:, second], axis=0))
        # One array: without the barrier XLA multiplies each part by its own slice of the readout's weights.
        return jax.lax.optimization_barrier(jnp.concatenate(features)).T
