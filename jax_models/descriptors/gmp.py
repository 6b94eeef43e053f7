"""Gaussian multipoles of the electron density (Lei, Medford, arXiv 2102.02390).

Atoms are sums of Gaussians (element_densities.json, made by tools/atomic_densities.py: valence electrons); a probe
exp(-r^2/(2 sigma^2)), normalised, times a Maxwell solid harmonic of order n is laid over them. Elements enter through
their densities alone, so that neither the features nor a network on them grow with the number of elements.

By the addition theorem feature^2 = n! (2n-1)!! sum_jk w_j w_k (r_j r_k)^n P_n(cos theta_jk) is a sum over neighbours,
not over pairs; the radial part w r^n, a sum over an atom's Gaussians, is held as a Chebyshev series.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import spherical_harmonics
from jax_models.basis.contraction import mix_channels, sum_neighbors
from jax_models.basis.cutoff import polynomial_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.radial import chebyshev, chebyshev_coefficients, chebyshev_nodes
from jax_models.basis.species import element_masks
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood
from jax_models.reference_points.grid import coarsest_for_gaussians

ROUNDING = 0.01
"""The root of the squared norm is rounded off below this share of the most that one atom can give."""
TOLERANCE = 1e-9
SMALLEST_SIGMA = 0.05


class GMP(eqx.Module):
    """Features [N, F]: for each order (ascending), and within it each sigma, the norm of the multipole.

    Order -1 is the density itself at the point, without a probe: one feature. Order 0 is the overlap with the probe.
    From order 1 on a feature is sqrt(norm^2 + d^2) - d, d a hundredth of the largest norm one atom of the model's
    elements has, because the bare root has no derivative where symmetry makes the norm vanish. Atoms fade out at the
    cutoff by (1 - (r/cutoff)^2)^3. An atom at the centre counts; a centre whose species is -1 has none.

    Args:
        elements: chemical symbols, H to Rn.
        cutoff: Å.
        sigmas: widths of the probes in Å, each at least 0.05; None: ten from 0.2 to 2.
        orders: multipole orders, from -1 to 8.

    Raises:
        ConfigError: a setting is outside its range, or an element has no tabulated density.

    Example:
        >>> GMP(("Si",), 6.0).n_features, GMP(("Li", "Al", "O"), 6.0).n_features
        (41, 41)
    """

    elements: tuple[str, ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    sigmas: tuple[float, ...] = eqx.field(static=True)
    orders: tuple[int, ...] = eqx.field(static=True)

    defaults: ClassVar[dict] = {"sigmas": None, "orders": (-1, 0, 1, 2, 3)}
    by_symbol: ClassVar[bool] = True

    counts_center: ClassVar[bool] = True

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float,
        *,
        sigmas: tuple[float, ...] | None = None,
        orders: tuple[int, ...] = (-1, 0, 1, 2, 3),
        key: Array | None = None,
    ):
        missing = [e for e in elements if e not in element_densities()]
        if missing:
            raise ConfigError(f"gmp: no electron density for {', '.join(missing)}; there is one for each of H to Rn")
        sigmas = tuple(np.linspace(0, 2, 11)[1:].tolist()) if sigmas is None else tuple(float(s) for s in sigmas)
        if not sigmas or not all(SMALLEST_SIGMA <= s < math.inf for s in sigmas):
            raise ConfigError(f"gmp: sigmas is {list(sigmas)}; it must list widths of at least {SMALLEST_SIGMA} Å")
        whole = all(isinstance(n, int) and -1 <= n <= 8 for n in orders)
        if not orders or not whole or len(set(orders)) < len(orders):
            raise ConfigError(f"gmp: orders is {list(orders)}; it must list different whole numbers between -1 and 8")
        self.elements, self.cutoff, self.sigmas, self.orders = (
            tuple(elements),
            float(cutoff),
            sigmas,
            tuple(sorted(orders)),
        )

    @property
    def n_features(self) -> int:
        return sum(1 if n == -1 else len(self.sigmas) for n in self.orders)

    @property
    def largest_spacing(self) -> float:
        """Å between the points of a grid that still sample the sharpest of the element densities and probes."""
        sharpest = 0.0 if -1 in self.orders else min(self.sigmas)
        found = []
        for element in self.elements:
            beta, amplitude = element_densities()[element]
            shares = amplitude * (np.pi / beta) ** 1.5
            found.append(coarsest_for_gaussians(np.sqrt(0.5 / beta + sharpest**2), shares))
        return min(found)

    @property
    def feature_names(self) -> list[dict]:
        """What each feature is: its order and its probe's width."""
        return [{"order": n, "sigma": s} for n in self.orders for s in ((0.0,) if n == -1 else self.sigmas)]

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        r, direction = distances_and_directions(neighborhood)
        dtype = r.dtype
        highest = max(*self.orders, 0)
        series, at_center, largest = _radial_series(self.elements, self.cutoff, self.sigmas, highest)
        envelope = jnp.where(neighborhood.mask, polynomial_cutoff(r, self.cutoff), 0.0)
        radial = chebyshev(
            jnp.minimum(r * (2.0 / self.cutoff), 2.0) - 1.0, series.shape[-1] // len(self.elements), envelope
        )
        if len(self.elements) > 1:
            kinds = element_masks(neighborhood.neighbor_species, len(self.elements), dtype)
            radial = [kind * value for kind in kinds for value in radial]
        harmonics = spherical_harmonics(*direction, highest)
        stacks = jax.lax.optimization_barrier((jnp.stack(radial, 1), jnp.stack(harmonics, 1)))
        degree = np.repeat(np.arange(highest + 1), 2 * np.arange(highest + 1) + 1)
        moments = mix_channels(jnp.asarray(series[degree], dtype), sum_neighbors(*stacks).transpose(2, 1, 0))
        own = (neighborhood.species == np.arange(len(self.elements))[:, None]).astype(dtype)
        monopole = moments[0] + jnp.asarray(at_center, dtype).T @ own
        features = []
        for n in self.orders:
            if n < 1:
                features.append(monopole[:1] if n == -1 else monopole[1:])
            else:
                square = jnp.sum(moments[n * n : (n + 1) ** 2, 1:] ** 2, axis=0)
                rounding = jnp.asarray(ROUNDING * largest[n, :, None], dtype)
                features.append(jnp.sqrt(square + rounding**2) - rounding)
        return jnp.concatenate(features).T


@functools.cache
def _tabulated() -> dict[str, dict]:
    return json.loads((Path(__file__).parent / "element_densities.json").read_text(encoding="utf-8"))["elements"]


@functools.cache
def element_densities() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Exponents (Å^-2) and coefficients (electrons/Å^3) of each element's valence density, H to Rn."""
    return {e: (np.array(d["exponents"]), np.array(d["coefficients"])) for e, d in _tabulated().items()}


def valence_electrons() -> dict[str, int]:
    """How many electrons each of these densities holds."""
    return {e: d["valence_electrons"] for e, d in _tabulated().items()}


def multipole(r: Float[np.ndarray, " R"], element: str, sigma: float, order: int) -> Float[np.ndarray, " R"]:
    """Norm of the multipole of one atom at distance ``r`` (Å): sqrt(n! (2n-1)!!) w(r) r^n; sigma 0 is the density."""
    beta, amplitude = element_densities()[element]
    square = np.asarray(r, float)[:, None] ** 2
    if sigma == 0.0:
        return np.exp(-beta * square) @ amplitude
    alpha = 1.0 / (2.0 * sigma**2)
    c1 = (sigma * math.sqrt(2 * math.pi)) ** -3 * amplitude * (np.pi / (alpha + beta)) ** 1.5
    weight = (c1 * (beta / (alpha + beta)) ** order * np.exp(-alpha * beta / (alpha + beta) * square)).sum(axis=1)
    norm = math.sqrt(math.factorial(order) * math.prod(range(2 * order - 1, 0, -2)))
    return norm * weight * np.asarray(r, float) ** order


@functools.cache
def _radial_series(
    elements: tuple[str, ...], cutoff: float, sigmas: tuple[float, ...], highest: int
) -> tuple[Float[np.ndarray, "L C SB"], Float[np.ndarray, "S C"], Float[np.ndarray, "L C"]]:
    """Chebyshev series of every radial function (channels: density, then the sigmas), their values at r = 0 for the
    monopole, and the largest value of each multipole."""
    terms = 32
    while True:
        r = 0.5 * cutoff * (chebyshev_nodes(terms) + 1)
        values = np.zeros((highest + 1, 1 + len(sigmas), len(elements), terms))
        for z, element in enumerate(elements):
            values[0, 0, z] = multipole(r, element, 0.0, 0)
            for n in range(highest + 1):
                for c, sigma in enumerate(sigmas, start=1):
                    values[n, c, z] = multipole(r, element, sigma, n)
        largest = np.abs(values).max(axis=(2, 3))
        series = chebyshev_coefficients(values)
        share = np.abs(series) / np.where(largest > 0, largest, 1.0)[:, :, None, None]
        needed = np.flatnonzero(share.max(axis=(0, 1, 2)) > TOLERANCE)[-1] + 1
        if needed <= 0.8 * terms:
            break
        terms *= 2
    at_center = np.array([[multipole(np.zeros(1), e, s, 0)[0] for s in (0.0, *sigmas)] for e in elements])
    return series[..., :needed].reshape(highest + 1, 1 + len(sigmas), -1), at_center, largest[:, 1:]
