"""Chebyshev expansion of the radial and angular distributions (Artrith, Urban, Ceder, PRB 96, 014112; aenet).

The angular sums run over pairs of neighbours. A Chebyshev polynomial of the cosine is a sum of Legendre polynomials,
and the addition theorem splits each of those into products of harmonics of the two directions, so that a sum over
neighbours, and not over pairs, is enough.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import spherical_harmonics
from jax_models.basis.contraction import sum_neighbors
from jax_models.basis.cutoff import cosine_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.radial import chebyshev
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood


class Chebyshev(eqx.Module):
    """Features [N, F] of body order 2 and 3, the number of them independent of how many elements there are.

    radial_n = sum_j T_n(2 r_j / cutoff - 1) fc(r_j) and angular_n = sum_{j<k} T_n(cos theta_jk) fc(r_j) fc(r_k), with
    fc the cosine cutoff, first plain, then (two or more elements) again with each neighbour weighted by its element's
    integer: -1, 1 for two elements, -1, 0, 1 for three, -2, -1, 1, 2 for four. Order of the features: radial,
    angular, weighted radial, weighted angular. The forces are continuous at the cutoff; fc's second derivative,
    as published, is not.

    Args:
        elements: number of elements.
        cutoff: Å; of the radial functions, 8 in the published Li-Si potential.
        radial_n, angular_n: highest orders, as in aenet.
        angular_rc: cutoff of the angular functions in Å, at most ``cutoff``, which it is by default.

    Raises:
        ConfigError: a setting is outside its range.

    Example:
        >>> Chebyshev(2, 8.0).n_features
        44
    """

    elements: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    radial_n: int = eqx.field(static=True)
    angular_n: int = eqx.field(static=True)
    angular_rc: float = eqx.field(static=True)

    defaults: ClassVar[dict] = {"radial_n": 10, "angular_n": 10, "angular_rc": None}

    def __init__(
        self,
        elements: int,
        cutoff: float,
        *,
        radial_n: int = 10,
        angular_n: int = 10,
        angular_rc: float | None = None,
        key: Array | None = None,
    ):
        for name, value, high in (("radial_n", radial_n, 50), ("angular_n", angular_n, 16)):
            if not (isinstance(value, int) and 0 <= value <= high):
                raise ConfigError(f"chebyshev: {name} is {value}; it must be a whole number between 0 and {high}")
        if angular_rc is not None and not 0 < angular_rc <= cutoff:
            raise ConfigError(
                f"chebyshev: angular_rc is {angular_rc}; it must be above 0 and at most the cutoff, {cutoff} Å"
            )
        self.elements, self.cutoff, self.radial_n, self.angular_n = elements, float(cutoff), radial_n, angular_n
        self.angular_rc = float(cutoff if angular_rc is None else angular_rc)

    @property
    def n_features(self) -> int:
        return (self.radial_n + self.angular_n + 2) * (1 if self.elements == 1 else 2)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        r, direction = distances_and_directions(neighborhood)
        dtype = r.dtype
        radial_cutoff = jnp.where(neighborhood.mask, cosine_cutoff(r, self.cutoff), 0.0)
        angular_cutoff = jnp.where(neighborhood.mask, cosine_cutoff(r, self.angular_rc), 0.0)
        scaled = jnp.minimum(r * (2.0 / self.cutoff), 2.0) - 1.0
        radial = jnp.stack(chebyshev(scaled, self.radial_n + 1, radial_cutoff), 1)
        harmonics = jnp.stack(spherical_harmonics(*direction, self.angular_n), 1)
        # Else XLA computes the same functions again for each that uses them.
        radial, harmonics = jax.lax.optimization_barrier((radial, harmonics))
        weights = jnp.ones_like(r)[:, None]
        if self.elements > 1:
            of_element = jnp.asarray(element_weights(self.elements), dtype)
            weights = jnp.stack([jnp.ones_like(r), of_element[neighborhood.neighbor_species]], 1)
        pair_weights = weights * angular_cutoff[:, None]
        radial_sums = sum_neighbors(weights, radial)
        density = sum_neighbors(pair_weights, harmonics)
        # Of all ordered pairs the sum counts each twice, and each neighbour once with itself (cos = 1, T_n = 1).
        itself = jnp.sum(pair_weights * pair_weights, axis=2, keepdims=True)
        angular_sums = 0.5 * ((density * density) @ jnp.asarray(_legendre_table(self.angular_n).T, dtype) - itself)
        return jnp.concatenate([radial_sums, angular_sums], axis=2).reshape(len(r), -1)


def element_weights(elements: int) -> list[int]:
    """Integers symmetric about zero, zero left out for an even number of elements.

    Example:
        >>> element_weights(2), element_weights(3), element_weights(4)
        ([-1, 1], [-1, 0, 1], [-2, -1, 1, 2])
    """
    half = elements // 2
    return [s for s in range(-half, half + 1) if s != 0 or elements % 2 == 1]


@functools.cache
def _legendre_table(order: int) -> Float[np.ndarray, "A LM"]:
    """T_n as a sum of Legendre polynomials, each coefficient repeated for the 2 l + 1 harmonics of its l."""
    table = np.zeros((order + 1, order + 1))
    for n in range(order + 1):
        power = np.polynomial.chebyshev.cheb2poly(np.eye(order + 1)[n])
        coefficients = np.polynomial.legendre.poly2leg(power)
        table[n, : len(coefficients)] = coefficients
    return np.repeat(table, 2 * np.arange(order + 1) + 1, axis=1)
