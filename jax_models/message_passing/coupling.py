"""Coupling of real spherical tensors: Clebsch-Gordan coefficients, and symmetric products of one tensor with itself."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from jaxtyping import Complex, Float


@functools.cache
def real_coupling(l1: int, l2: int, l3: int) -> Float[np.ndarray, "M1 M2 M3"]:
    """The invariant coupling of three real tensors, components in the order m = -l ... l, of unit norm.

    Defined for every l1, l2, l3 that obey the triangle rule, unlike the Gaunt coefficients, which need an even sum.
    Racah's formula, in the real basis; the phase is the one e3nn uses, so that networks trained with it can be read.
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


@functools.cache
def symmetric_products(l_max: int, order: int, degree: int) -> list[dict[tuple[int, ...], Float[np.ndarray, " M"]]]:
    """All independent tensors of ``degree`` and natural parity in the product of ``order`` equal tensors.

    The tensor A has components (l, m) for l = 0 ... l_max, numbered l^2 + l + m, with parity (-1)^l. Each result is a
    polynomial: {sorted component numbers: coefficient for each M}, of unit norm as a symmetric tensor. Products of one
    set of degrees (l1 <= l2 <= ...) are kept apart from those of another, which keeps the polynomials short.
    """
    results = []
    for degrees in itertools.combinations_with_replacement(range(l_max + 1), order):
        if (sum(degrees) + degree) % 2:
            continue
        independent: list[np.ndarray] = []
        for tensor in _coupled(degrees, degree):
            polynomial = _symmetrised(degrees, tensor)
            for other in independent:
                polynomial = polynomial - np.vdot(other, polynomial) * other
            norm = np.linalg.norm(polynomial)
            if norm > 1e-6:
                independent.append(polynomial / norm)
        results += [_sparse(degrees, tensor) for tensor in independent]
    return results


def _coupled(degrees: tuple[int, ...], degree: int) -> list[Float[np.ndarray, "..."]]:
    """Every way to couple tensors of these degrees, one after the other, to ``degree``: arrays [M1, M2, ..., M]."""
    partial = {degrees[0]: [np.eye(2 * degrees[0] + 1)]}
    for position, following in enumerate(degrees[1:], start=2):
        last = position == len(degrees)
        coupled: dict[int, list[np.ndarray]] = {}
        for l12, tensors in partial.items():
            for l3 in range(abs(l12 - following), l12 + following + 1):
                if not last or l3 == degree:
                    coupled.setdefault(l3, []).extend(
                        np.tensordot(t, real_coupling(l12, following, l3), (-1, 0)) for t in tensors
                    )
        partial = coupled
    return partial.get(degree, [])


def _symmetrised(degrees: tuple[int, ...], tensor: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The mean of ``tensor`` over the exchanges of factors that have the same degree."""
    same = [
        p for p in itertools.permutations(range(len(degrees))) if all(degrees[i] == degrees[j] for i, j in enumerate(p))
    ]
    return sum(np.transpose(tensor, (*p, len(degrees))) for p in same) / len(same)


def _sparse(degrees: tuple[int, ...], tensor: Float[np.ndarray, "..."]) -> dict[tuple[int, ...], np.ndarray]:
    # The full symmetric tensor has each product of unequal degrees in several orders: unit norm counts them all.
    orderings = len(set(itertools.permutations(degrees)))
    polynomial: dict[tuple[int, ...], np.ndarray] = {}
    for index in np.argwhere(np.abs(tensor).max(axis=-1) > 1e-12):
        components = tuple(sorted(ell**2 + int(m) for ell, m in zip(degrees, index, strict=True)))
        polynomial[components] = polynomial.get(components, 0.0) + tensor[tuple(index)] * math.sqrt(orderings)
    return {k: np.where(np.abs(v) < 1e-12, 0.0, v) for k, v in sorted(polynomial.items())}
