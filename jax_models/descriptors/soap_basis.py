"""Radial functions of SOAP: the overlap of a Gaussian atom at distance r with an orthonormal radial basis.

c_nlm = sum_j g_nl(r_j) Y_lm(r_j), where g_nl follows from the basis and the width of the atoms alone. It is smooth, so
a Chebyshev series in r holds it to rounding, needs no exponentials and, unlike the primitives it is made of (their
orthonormal combinations have large coefficients of both signs), loses nothing in float32.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float

from jax_models.basis.radial import chebyshev_coefficients, chebyshev_nodes
from jax_models.errors import ConfigError

DECAY = 1e-3
"""Where DScribe lets a primitive end, and lets an atom beyond the cutoff go."""
TOLERANCE = 1e-11
"""Of the largest coefficient: where the series is cut."""
MOST_TERMS = 400


def reach(r_cut: float, sigma: float) -> float:
    """How far an atom counts in DScribe: r_cut plus the distance where its Gaussian has decayed to 1e-3 (Å)."""
    return r_cut + sigma * np.sqrt(-2 * np.log(DECAY))


@functools.cache
def radial_series(
    rbf: str, r_cut: float, n_max: int, l_max: int, sigma: float, end: float
) -> Float[np.ndarray, "L n B"]:
    """Chebyshev coefficients of g_nl(r), times sqrt((2 l + 1)/(4 pi)), on 0 <= r <= ``end`` (Å).

    Raises:
        ConfigError: the basis is not linearly independent in double precision, or sigma is too small for a series.
    """
    functions = gto_overlaps if rbf == "gto" else polynomial_overlaps
    terms = 32
    while terms <= MOST_TERMS:
        values = functions(0.5 * end * (chebyshev_nodes(terms) + 1), r_cut, n_max, l_max, sigma)
        values *= np.sqrt((2 * np.arange(l_max + 1) + 1) / (4 * np.pi))[:, None, None]
        series = chebyshev_coefficients(values)
        size = np.abs(series).max(axis=(0, 1))
        needed = np.flatnonzero(size > TOLERANCE * size.max())[-1] + 1
        if needed <= 0.8 * terms:
            return series[..., :needed]
        terms = int(terms * 1.5)
    raise ConfigError(
        f"soap: sigma is {sigma} Å; for a cutoff of {end:.3g} Å it must be at least about {0.02 * end:.2g}"
    )


def gto_overlaps(r: Float[np.ndarray, " R"], r_cut: float, n_max: int, l_max: int, sigma: float) -> np.ndarray:
    """g_nl[l, n, R] of Gaussian-type orbitals r^l exp(-alpha r^2), which decay to 1e-3 between 1 Å and ``r_cut``.

    The integral of r^l Y_lm exp(-alpha r^2) with exp(-eta |r - R|^2) is closed: a solid harmonic averaged over a
    Gaussian is its value at the mean, (pi/(alpha+eta))^(3/2) (eta/(alpha+eta))^l R^l Y_lm exp(-alpha eta/(alpha+eta)
    R^2).
    """
    from scipy.special import gamma

    eta = 0.5 / sigma**2
    ends = np.linspace(1.0, r_cut, n_max)
    overlaps = []
    for degree in range(l_max + 1):
        alpha = -np.log(DECAY / ends**degree) / ends**2
        gram = 0.5 * gamma(degree + 1.5) * (alpha[:, None] + alpha) ** (-degree - 1.5)
        total = (alpha + eta)[:, None]
        primitive = (np.pi / total) ** 1.5 * (eta / total * r) ** degree * np.exp(-alpha[:, None] * eta / total * r**2)
        overlaps.append(_inverse_square_root(gram, n_max) @ primitive)
    return np.array(overlaps)


def polynomial_overlaps(r: Float[np.ndarray, " R"], r_cut: float, n_max: int, l_max: int, sigma: float) -> np.ndarray:
    """g_nl[l, n, R] of the polynomials (r_cut - r)^(n + 2), n = 1 .. n_max, integrated from 0 to ``r_cut``.

    The Gaussian's part of degree l is 4 pi exp(-eta (s^2 + r^2)) i_l(2 eta s r), i_l the modified spherical Bessel
    function; the quadrature over s converges to rounding.
    """
    from scipy.special import ive

    eta = 0.5 / sigma**2
    powers = np.arange(1, n_max + 1)
    sums = powers[:, None] + powers
    gram = 2.0 * r_cut ** (7.0 + sums) / ((5 + sums) * (6 + sums) * (7 + sums))
    nodes, weights = np.polynomial.legendre.leggauss(200)
    s = 0.5 * r_cut * (nodes + 1)
    basis = _inverse_square_root(gram, n_max) @ (r_cut - s) ** (powers[:, None] + 2)
    weighted = basis * (0.5 * r_cut * weights * s**2)
    argument = np.maximum(2 * eta * np.outer(s, r), 1e-12)
    gaussian = 4 * np.pi * np.exp(-eta * (s[:, None] - r) ** 2) * np.sqrt(np.pi / (2 * argument))
    return np.array([weighted @ (gaussian * ive(degree + 0.5, argument)) for degree in range(l_max + 1)])


def _inverse_square_root(gram: np.ndarray, n_max: int) -> np.ndarray:
    # Scaled to a unit diagonal for the test only: Loewdin's square root is that of the unscaled matrix.
    scale = 1.0 / np.sqrt(np.diag(gram))
    if not np.linalg.eigvalsh(gram * scale * scale[:, None])[0] > 1e-15:
        raise ConfigError(
            f"soap: n_max is {n_max}, too many for this cutoff: the radial functions become dependent; take fewer"
        )
    from scipy.linalg import sqrtm

    return np.real(sqrtm(np.linalg.inv(gram)))
