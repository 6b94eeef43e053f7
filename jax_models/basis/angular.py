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
    NumPy arrays give NumPy arrays.

    Example:
        >>> [float(v) for v in spherical_harmonics(np.array(0.0), np.array(0.6), np.array(0.8), 1)]
        [1.0, 0.6, 0.8, 0.0]
    """
    # cos(m phi) sin^m(theta) and sin(m phi) sin^m(theta), for m > 0
    cosines, sines = [1.0, x], [0.0, y]
    for _ in range(l_max - 1):
        cosine, sine = cosines[-1], sines[-1]
        cosines.append(cosine * x - sine * y)
        sines.append(sine * x + cosine * y)
    # Normalised P[l, m] / sin^m(theta), without the Condon-Shortley phase; plain numbers while they are constant.
    legendre: dict[tuple[int, int], Array | float] = {}
    for m in range(l_max + 1):
        legendre[m, m] = math.sqrt((2 if m else 1) / math.factorial(2 * m)) * math.prod(range(1, 2 * m, 2))
        if m < l_max:
            legendre[m + 1, m] = (math.sqrt(2 * m + 1) * legendre[m, m]) * z
        for degree in range(m + 2, l_max + 1):
            rising = (2 * degree - 1) / math.sqrt((degree - m) * (degree + m))
            falling = math.sqrt((degree + m - 1) * (degree - m - 1) / ((degree + m) * (degree - m)))
            legendre[degree, m] = rising * z * legendre[degree - 1, m] - falling * legendre[degree - 2, m]
    harmonics = [np.ones_like(x) if isinstance(x, np.ndarray) else jnp.ones_like(x)]
    for degree in range(1, l_max + 1):
        for m in range(-degree, degree + 1):
            polar = legendre[degree, abs(m)]
            harmonics.append(polar if m == 0 else polar * (cosines[m] if m > 0 else sines[-m]))
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
    x, y, z = (
        np.ravel(v)
        for v in (np.outer(sine, np.cos(phi)), np.outer(sine, np.sin(phi)), np.outer(nodes, np.ones_like(phi)))
    )
    weight = np.ravel(np.outer(weights, np.full(degree + 1, 1 / (2 * (degree + 1)))))
    harmonics = np.array(spherical_harmonics(x, y, z, max(l1, l2, l3)))
    sets = [harmonics[order**2 : (order + 1) ** 2] for order in (l1, l2, l3)]
    tensor = np.einsum("ap,bp,cp,p->abc", *sets, weight, optimize=True)
    tensor[np.abs(tensor) < 1e-12] = 0.0
    norm = np.linalg.norm(tensor)
    return tensor / norm if norm > 0 else tensor
