"""Real spherical harmonics as polynomials, and the coupling coefficients that make invariants of them."""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def spherical_harmonics(
    x: Float[Array, "..."], y: Float[Array, "..."], z: Float[Array, "..."], l_max: int
) -> list[Float[Array, "..."]]:
    """Real spherical harmonics of a unit vector, (l_max + 1)^2 of them in the order (l, m = -l..l).

    Normalised so that the sum over m of their squares is 1 (Racah), which keeps every l of one size.
    From the recurrences of the associated Legendre functions, without angles: no special case at the poles.
    """
    # cos(m phi) sin^m(theta) and sin(m phi) sin^m(theta)
    cosines, sines = [jnp.ones_like(x)], [jnp.zeros_like(x)]
    for _ in range(l_max):
        cosines.append(cosines[-1] * x - sines[-1] * y)
        sines.append(sines[-1] * x + cosines[-2] * y)
    # P[l, m] / sin^m(theta), without the Condon-Shortley phase
    legendre: dict[tuple[int, int], Array] = {(0, 0): jnp.ones_like(x)}
    for m in range(l_max + 1):
        if m > 0:
            legendre[m, m] = (2 * m - 1) * legendre[m - 1, m - 1]
        if m < l_max:
            legendre[m + 1, m] = (2 * m + 1) * z * legendre[m, m]
        for degree in range(m + 2, l_max + 1):
            legendre[degree, m] = (
                (2 * degree - 1) * z * legendre[degree - 1, m] - (degree + m - 1) * legendre[degree - 2, m]
            ) * (1.0 / (degree - m))
    harmonics = []
    for degree in range(l_max + 1):
        for m in range(-degree, degree + 1):
            norm = math.sqrt((2 if m else 1) * math.factorial(degree - abs(m)) / math.factorial(degree + abs(m)))
            azimuthal = cosines[m] if m >= 0 else sines[-m]
            harmonics.append(norm * legendre[degree, abs(m)] * azimuthal)
    return harmonics


@functools.cache
def gaunt(l1: int, l2: int, l3: int) -> Float[np.ndarray, "M1 M2 M3"]:
    """Coupling of three sets of real harmonics to an invariant: the integral of their product over the sphere.

    Scaled to unit norm. Zero unless the triangle rule holds and l1 + l2 + l3 is even. The product is a
    polynomial of degree l1 + l2 + l3, so Gauss-Legendre times trapezoid quadrature is exact.
    """
    degree = l1 + l2 + l3
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    phi = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    sine = np.sqrt(1 - nodes**2)
    x, y, z = (np.ravel(v) for v in (np.outer(sine, np.cos(phi)), np.outer(sine, np.sin(phi)), np.outer(nodes, np.ones_like(phi))))
    weight = np.ravel(np.outer(weights, np.full(degree + 1, 1 / (2 * (degree + 1)))))
    harmonics = _harmonics_numpy(x, y, z, max(l1, l2, l3))
    sets = [harmonics[order**2 : (order + 1) ** 2] for order in (l1, l2, l3)]
    tensor = np.einsum("ap,bp,cp,p->abc", *sets, weight)
    tensor[np.abs(tensor) < 1e-12] = 0.0
    norm = np.linalg.norm(tensor)
    return tensor / norm if norm > 0 else tensor


def _harmonics_numpy(x, y, z, l_max: int) -> np.ndarray:
    import jax

    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        return np.array(spherical_harmonics(jnp.asarray(x, jnp.float64), jnp.asarray(y, jnp.float64), jnp.asarray(z, jnp.float64), l_max))
