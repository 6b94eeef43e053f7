"""Real spherical harmonics as polynomials, and the coupling coefficients that make invariants of them."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float


def spherical_harmonics(
    x: Float[Any, "..."], y: Float[Any, "..."], z: Float[Any, "..."], l_max: int
) -> list[Float[Any, "..."]]:
    """Real spherical harmonics of a unit vector, (l_max + 1)^2 of them in the order (l, m = -l..l).

    Normalised so that the sum over m of their squares is 1 (Racah), which keeps every l of one size.
    From the recurrences of the associated Legendre functions, without angles: no special case at the poles.
    NumPy arrays give NumPy arrays.

    Example:
        >>> [float(v) for v in spherical_harmonics(np.array(0.0), np.array(0.6), np.array(0.8), 1)]
        [1.0, 0.6, 0.8, 0.0]
    """
    # cos(m phi) sin^m(theta) and sin(m phi) sin^m(theta), for m > 0
    cosines: list[Any] = [1.0, x]
    sines: list[Any] = [0.0, y]
    for _ in range(l_max - 1):
        cosine, sine = cosines[-1], sines[-1]
        cosines.append(cosine * x - sine * y)
        sines.append(sine * x + cosine * y)
    # Normalised P[l, m] / sin^m(theta), without the Condon-Shortley phase; plain numbers while they are constant.
    legendre: dict[tuple[int, int], Any] = {}
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
def real_coupling(l1: int, l2: int, l3: int) -> Float[np.ndarray, "M1 M2 M3"]:
    """The invariant coupling of three real tensors, components in the order m = -l ... l, of unit norm.

    Defined for every l1, l2, l3 that obey the triangle rule, and zero for others. Where l1 + l2 + l3 is even, it is the
    integral of the product of three real harmonics over the sphere (Gaunt), scaled to unit norm. Racah's formula, in
    the real basis; the phase is the one e3nn uses, so that networks trained with it can be read.

    Example:
        >>> real_coupling(0, 1, 1)[0].round(3).tolist()
        [[0.577, 0.0, 0.0], [0.0, 0.577, 0.0], [0.0, 0.0, 0.577]]
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        return np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    cg = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1, m2 in itertools.product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        if abs(m1 + m2) <= l3:
            cg[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3, m1 + m2)
    real = np.einsum("ij,kl,mn,ikm->jln", _real_basis(l1), _real_basis(l2), _real_basis(l3).conj(), cg)
    tensor = np.ascontiguousarray(real.real)
    tensor[np.abs(tensor) < 1e-13] = 0.0
    return tensor / np.linalg.norm(tensor)


def _clebsch_gordan(j1: int, m1: int, j2: int, m2: int, j3: int, m3: int) -> float:
    """<j1 m1 j2 m2 | j3 m3> (Racah; Varshalovich et al., sec. 8.2.1)."""
    f = math.factorial
    norm = (2 * j3 + 1) * f(j3 + j1 - j2) * f(j3 - j1 + j2) * f(j1 + j2 - j3) / f(j1 + j2 + j3 + 1)
    norm *= f(j3 + m3) * f(j3 - m3) * f(j1 - m1) * f(j1 + m1) * f(j2 - m2) * f(j2 + m2)
    total = 0.0
    for k in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        total += (-1) ** k / (
            f(k) * f(j1 + j2 - j3 - k) * f(j1 - m1 - k) * f(j2 + m2 - k) * f(j3 - j2 + m1 + k) * f(j3 - j1 - m2 + k)
        )
    return math.sqrt(norm) * total


def _real_basis(degree: int) -> Complex[np.ndarray, "M M"]:
    """Complex harmonics as combinations of the real ones, times (-i)^l, which makes every coupling real."""
    q = np.zeros((2 * degree + 1, 2 * degree + 1), complex)
    for m in range(-degree, 0):
        q[degree + m, degree + abs(m)] = 1 / math.sqrt(2)
        q[degree + m, degree - abs(m)] = -1j / math.sqrt(2)
    q[degree, degree] = 1
    for m in range(1, degree + 1):
        q[degree + m, degree + abs(m)] = (-1) ** m / math.sqrt(2)
        q[degree + m, degree - abs(m)] = 1j * (-1) ** m / math.sqrt(2)
    return (-1j) ** degree * q
