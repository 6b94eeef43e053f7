"""A layer's sum over neighbours: radial function x spherical harmonic x the neighbour's feature, for all coupled
degrees.

The sum is taken before harmonic and feature are coupled, so that coupling is work for each atom and not for each pair.
Its derivative is written out: XLA's own transposes arrays of pairs, pads them and sums over their short axes, and takes
two to three times as long on a CPU.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import real_coupling


class Pairing(NamedTuple):
    """Degrees of the neighbour's feature and of the harmonic, and what they couple to."""

    feature: int
    harmonic: int
    results: tuple[int, ...]


def pairings(l_in: int, max_ell: int) -> tuple[Pairing, ...]:
    """Every pairing of features up to ``l_in`` with harmonics up to ``max_ell``, with results of natural parity up to
    ``max_ell``."""
    return tuple(
        Pairing(l1, l2, tuple(range(abs(l1 - l2), min(max_ell, l1 + l2) + 1, 2)))
        for l1 in range(l_in + 1)
        for l2 in range(max_ell + 1)
    )


def convolve(
    radial: Float[Array, "N K PC"], harmonics: list[Float[Array, "N M K"]], received: Float[Array, "N K M1 C"]
) -> list[Float[Array, "N M PC"]]:
    """`convolve_degrees` of features with as many channels for each degree up to l_in, over all their `pairings`."""
    n, k, components, channels = received.shape
    l_in = round(np.sqrt(components)) - 1
    paired = pairings(l_in, len(harmonics) - 1)
    return convolve_degrees(radial, harmonics, received.reshape(n, k, -1), (channels,) * (l_in + 1), paired)


def convolve_degrees(
    radial: Float[Array, "N K PC"],
    harmonics: list[Float[Array, "N M K"]],
    received: Float[Array, "N K F"],
    channels: tuple[int, ...],
    paired: tuple[Pairing, ...],
) -> list[Float[Array, "N M PC"]]:
    """The sums of each degree l up to the highest result, the contributions of all paths to it side by side.

    Args:
        radial: a function for each path - each pairing in turn, and each of its results - and channel.
        harmonics: for each degree, the harmonics of the pairs; the first is constant.
        received: the neighbours' features, degree by degree, each [2 l + 1, channels] in one piece.
        channels: of each degree of the features.
        paired: what is coupled, in the order of the features.
    """
    parts: list[list[Array]] = [[] for _ in range(1 + max(max(p.results) for p in paired))]
    for pairing, summed in zip(paired, _sums(channels, paired, radial, harmonics, received), strict=True):
        coupled = summed.reshape(summed.shape[0], -1, channels[pairing.feature])
        if pairing.feature > 0 and pairing.harmonic > 0:
            coupled = jnp.einsum("mi,nic->nmc", jnp.asarray(_coupling(pairing), summed.dtype), coupled)
        start = 0
        for l3 in pairing.results:
            parts[l3].append(coupled[:, start : start + 2 * l3 + 1])
            start += 2 * l3 + 1
    return [jnp.concatenate(of_degree, axis=-1) for of_degree in parts]


@functools.cache
def _coupling(pairing: Pairing) -> Float[np.ndarray, "M I"]:
    """From the products of components, in the order of `_sums`, to those of all results. With a scalar it is one."""
    l1, l2, results = pairing
    rows = []
    for p, l3 in enumerate(results):
        block = np.zeros((2 * l3 + 1, 2 * l2 + 1, len(results), 2 * l1 + 1))
        block[:, :, p] = np.sqrt(2 * l3 + 1) * real_coupling(l1, l2, l3).transpose(2, 1, 0)
        rows.append(block.reshape(2 * l3 + 1, -1))
    return np.concatenate(rows)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _sums(channels, paired, radial, harmonics, received):
    """For each pairing sum_k y[n,b,k] R[n,k,p,c] x[n,k,a,c], as [n, b, (p, a, c)]."""
    return [_matmul(harmonics[l2], _weighted(r, x)) for l2, r, x in _split(channels, paired, radial, received)]


def _split(channels, paired, radial, received):
    """The harmonic's degree, radial functions [N, K, p, C] and features [N, K, a, C] of each pairing."""
    n, k = received.shape[:2]
    sizes = [(2 * ell + 1) * c for ell, c in enumerate(channels)]
    start = 0
    for l1, l2, results in paired:
        c, first = channels[l1], sum(sizes[:l1])
        r = radial[:, :, start : start + len(results) * c].reshape(n, k, len(results), c)
        yield l2, r, received[:, :, first : first + sizes[l1]].reshape(n, k, 2 * l1 + 1, c)
        start += len(results) * c


def _weighted(r, x):
    return (r[:, :, :, None] * x[:, :, None]).reshape(*r.shape[:2], -1)


def _matmul(a: Float[Array, "N I J"], b: Float[Array, "N J L"]) -> Float[Array, "N I L"]:
    return jax.lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,))))


def _transposed(a):
    return a.transpose(0, 2, 1)


def _sums_forward(channels, paired, radial, harmonics, received):
    return _sums(channels, paired, radial, harmonics, received), (radial, harmonics, received)


def _sums_backward(channels, paired, residuals, cotangents):
    radial, harmonics, received = residuals
    n, k = received.shape[:2]
    d_radial: list[Array] = []
    d_harmonics = [jnp.zeros_like(y) for y in harmonics]
    d_received: list[list[Array]] = [[] for _ in channels]
    split = _split(channels, paired, radial, received)
    for (l1, _, _), (l2, r, x), cotangent in zip(paired, split, cotangents, strict=True):
        d_harmonics[l2] += _transposed(_matmul(_weighted(r, x), _transposed(cotangent)))
        d_weighted = _matmul(_transposed(harmonics[l2]), cotangent).reshape(*r.shape[:3], x.shape[2], x.shape[3])
        d_radial.append(sum(d_weighted[:, :, :, a] * x[:, :, None, a] for a in range(x.shape[2])).reshape(n, k, -1))
        d_received[l1].append(sum(d_weighted[:, :, p] * r[:, :, p, None] for p in range(r.shape[2])).reshape(n, k, -1))
    return jnp.concatenate(d_radial, axis=2), d_harmonics, jnp.concatenate([sum(d) for d in d_received], axis=2)


_sums.defvjp(_sums_forward, _sums_backward)
