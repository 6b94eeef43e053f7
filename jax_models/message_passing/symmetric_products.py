"""Symmetric products of one real spherical tensor with itself, coupled to every degree."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from jaxtyping import Float

from jax_models.basis.angular import real_coupling


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
    return np.mean([np.transpose(tensor, (*p, len(degrees))) for p in same], axis=0)


def _sparse(degrees: tuple[int, ...], tensor: Float[np.ndarray, "..."]) -> dict[tuple[int, ...], np.ndarray]:
    # The full symmetric tensor has each product of unequal degrees in several orders: unit norm counts them all.
    orderings = len(set(itertools.permutations(degrees)))
    polynomial: dict[tuple[int, ...], np.ndarray] = {}
    for index in np.argwhere(np.abs(tensor).max(axis=-1) > 1e-12):
        components = tuple(sorted(ell**2 + int(m) for ell, m in zip(degrees, index, strict=True)))
        polynomial[components] = polynomial.get(components, 0.0) + tensor[tuple(index)] * math.sqrt(orderings)
    return {k: np.where(np.abs(v) < 1e-12, 0.0, v) for k, v in sorted(polynomial.items())}
