"""Atom-centred symmetry functions (Behler, J. Chem. Phys. 134, 074106), with DScribe's names and order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.contraction import sum_neighbors
from jax_models.basis.cutoff import cosine_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.species import element_masks
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood
from jax_models.reference_points.grid import coarsest_for_gaussians


class ACSF(eqx.Module):
    """Features [N, F] of body order 2 and 3, one set for each element and each pair of elements.

    With fc the cosine cutoff, theta the angle j-i-k, and every pair of neighbours counted once:

    - G1 = sum_j fc(r_ij), always there;
    - G2 (eta, mu) = sum_j exp(-eta (r_ij - mu)^2) fc(r_ij);
    - G3 (kappa) = sum_j cos(kappa r_ij) fc(r_ij);
    - G4 (eta, zeta, lambda) = 2^(1-zeta) sum_jk (1 + lambda cos theta)^zeta
      exp(-eta (r_ij^2 + r_ik^2 + r_jk^2)) fc(r_ij) fc(r_ik) fc(r_jk);
    - G5: the same without r_jk.

    Order: for each element G1, G2s, G3s; then for each pair of elements, (0, 0), (1, 0), (1, 1), (2, 0)..., G4s, G5s.
    The forces are continuous at the cutoff; fc's second derivative, as published, is not.

    Args:
        elements: number of elements.
        cutoff: Å, DScribe's ``r_cut``.
        g2_params: (eta in 1/Å^2, mu in Å) of each function. Default: six centred and six shifted Gaussians.
        g3_params: kappa in 1/Å.
        g4_params: (eta in 1/Å^2, zeta >= 1, -1 <= lambda <= 1). Default: four centred widths, zeta 1 and 4, lambda 1
            and -1.
        g5_params: the same.

    Raises:
        ConfigError: a parameter is malformed or outside its range.

    Example:
        >>> ACSF(1, 5.0).n_features, ACSF(2, 5.0).n_features
        (29, 74)
    """

    elements: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    g2_params: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    g3_params: tuple[float, ...] = eqx.field(static=True)
    g4_params: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    g5_params: tuple[tuple[float, ...], ...] = eqx.field(static=True)

    defaults: ClassVar[dict] = {"g2_params": None, "g3_params": (), "g4_params": None, "g5_params": ()}

    def __init__(
        self,
        elements: int,
        cutoff: float,
        *,
        g2_params: Sequence[Sequence[float]] | None = None,
        g3_params: Sequence[float] = (),
        g4_params: Sequence[Sequence[float]] | None = None,
        g5_params: Sequence[Sequence[float]] = (),
        key: Array | None = None,
    ):
        if (g2_params is None or g4_params is None) and not cutoff > 1.6:
            raise ConfigError(
                f"acsf: the default functions need a cutoff above 1.6 Å, not {cutoff}; give g2_params and g4_params"
            )
        if g2_params is None:
            g2_params = centred_gaussians(cutoff, 6) + shifted_gaussians(cutoff, 6)
        if g4_params is None:
            widths = [eta for eta, _ in centred_gaussians(cutoff, 4)]
            g4_params = list(itertools.product(widths, (1.0, 4.0), (1.0, -1.0)))
        self.elements, self.cutoff = elements, float(cutoff)
        self.g2_params = _rows("g2_params", "eta, mu", g2_params)
        self.g3_params = tuple(row[0] for row in _rows("g3_params", "kappa", [[value] for value in g3_params or ()]))
        self.g4_params = _rows("g4_params", "eta, zeta, lambda", g4_params)
        self.g5_params = _rows("g5_params", "eta, zeta, lambda", g5_params or ())

    @property
    def largest_spacing(self) -> float:
        """Å between the points of a grid that still sample the narrowest function."""
        eta = max([1e-3, *(row[0] for row in self.g2_params + self.g4_params + self.g5_params)])
        return coarsest_for_gaussians(np.array([np.sqrt(0.5 / eta)]), np.ones(1))

    @property
    def n_features(self) -> int:
        per_element = 1 + len(self.g2_params) + len(self.g3_params)
        per_pair = len(self.g4_params) + len(self.g5_params)
        return per_element * self.elements + per_pair * self.elements * (self.elements + 1) // 2

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        r, direction = distances_and_directions(neighborhood)
        fc = jnp.where(neighborhood.mask, cosine_cutoff(r, self.cutoff), 0.0)
        kinds = element_masks(neighborhood.neighbor_species, self.elements, r.dtype)
        radial = [fc]
        radial += [jnp.exp(-eta * (r - mu) ** 2) * fc for eta, mu in self.g2_params]
        radial += [jnp.cos(kappa * r) * fc for kappa in self.g3_params]
        features = sum_neighbors(jnp.stack(kinds, 1), jnp.stack(radial, 1)).reshape(len(r), -1)
        if self.g4_params or self.g5_params:
            features = jnp.concatenate([features, self._angular(r, direction, fc, kinds)], axis=1)
        return features

    def _angular(self, r, direction, fc, kinds) -> Float[Array, "N TG"]:
        """G4 and G5 for each pair of elements.

        Neighbour k meets neighbour k + 1, then k + 2, ... around the circle of the K places: after K/2 rounds each pair
        has met once. A round is elementwise work on arrays [K, N], each feature's own: memory does not grow with the
        number of pairs, and no array is gathered.
        """
        n_neighbors = r.shape[1]
        widths = sorted({eta for eta, _, _ in self.g4_params + self.g5_params})
        own = [v.T for v in (r, *direction, *(jnp.exp(-eta * r * r) * fc for eta in widths), *kinds)]
        twice = [jnp.concatenate([v, v]) for v in own]

        # What a round needs for its derivative is computed again: keeping it is what would take memory.
        @jax.checkpoint
        def meet(totals, round_):
            step, weight = round_
            other = [jax.lax.dynamic_slice_in_dim(v, step, n_neighbors) for v in twice]
            values = self._pair_functions(own, other, weight, widths)
            if self.elements > 1:
                pairs = _pair_kinds(own[4 + len(widths) :], other[4 + len(widths) :])
                values = [pair * value for pair in pairs for value in values]
            return [total + value for total, value in zip(totals, values, strict=True)], None

        steps = np.arange(1, n_neighbors // 2 + 1)
        # With an even number of places, opposite ones meet twice in the last round.
        weights = np.where(2 * steps == n_neighbors, 0.5, 1.0)
        n_pairs = self.elements * (self.elements + 1) // 2
        start = [jnp.zeros_like(r.T)] * (n_pairs * (len(self.g4_params) + len(self.g5_params)))
        totals, _ = jax.lax.scan(meet, start, (steps, jnp.asarray(weights, r.dtype)))
        return jnp.stack([jnp.sum(total, axis=0) for total in totals], 1)

    def _pair_functions(self, own, other, weight, widths: list[float]) -> list[Float[Array, "K N"]]:
        """The summands of the G4s and G5s for the pairs of ``own`` and ``other``, times ``weight``."""
        cosine = sum(own[axis] * other[axis] for axis in (1, 2, 3))
        between = sum((own[0] * own[axis] - other[0] * other[axis]) ** 2 for axis in (1, 2, 3))
        amplitude = {eta: own[4 + n] * other[4 + n] for n, eta in enumerate(widths)}
        # zeta may be no whole number: its power needs a base that rounding has not taken below zero.
        angular = {
            (zeta, lam): (weight * 2.0 ** (1 - zeta)) * _power(jnp.maximum(1.0 + lam * cosine, 0.0), zeta)
            for _, zeta, lam in self.g4_params + self.g5_params
        }
        values = []
        if self.g4_params:
            # The root has no derivative where two neighbours coincide.
            fc = cosine_cutoff(jnp.sqrt(jnp.maximum(between, 1e-12)), self.cutoff)
            closing = {eta: amplitude[eta] * jnp.exp(-eta * between) * fc for eta in {p[0] for p in self.g4_params}}
            values += [closing[eta] * angular[zeta, lam] for eta, zeta, lam in self.g4_params]
        return values + [amplitude[eta] * angular[zeta, lam] for eta, zeta, lam in self.g5_params]


def centred_gaussians(cutoff: float, n: int) -> list[tuple[float, float]]:
    """(eta, mu) of n Gaussians about the atom, their widths spread from 0.5 Å to ``cutoff`` - 1 Å (Gastegger et al.,
    J. Chem. Phys. 148, 241709).

    Example:
        >>> centred_gaussians(5.0, 2)
        [(2.0, 0.0), (0.03125, 0.0)]
    """
    return [(float(0.5 / radius**2), 0.0) for radius in np.linspace(0.5, cutoff - 1.0, n)]


def shifted_gaussians(cutoff: float, n: int) -> list[tuple[float, float]]:
    """(eta, mu) of n Gaussians of one width at evenly spread distances, 0.5 Å to ``cutoff`` - 1 Å (same source).

    Example:
        >>> shifted_gaussians(5.5, 3)
        [(0.125, 0.5), (0.125, 2.5), (0.125, 4.5)]
    """
    centers = np.linspace(0.5, cutoff - 1.0, n)
    return [(float(0.5 / (centers[1] - centers[0]) ** 2), float(mu)) for mu in centers]


def _pair_kinds(own: list[Float[Array, "K N"]], other: list[Float[Array, "K N"]]) -> list[Float[Array, "K N"]]:
    """1 where a pair of neighbours is of a pair of elements, for each pair of elements."""
    pairs = []
    for s in range(len(own)):
        pairs += [own[s] * other[t] + own[t] * other[s] for t in range(s)] + [own[s] * other[s]]
    return pairs


def _power(base: Array, exponent: float) -> Array:
    return base ** (int(exponent) if exponent == int(exponent) else exponent)


def _rows(name: str, fields: str, rows) -> tuple[tuple[float, ...], ...]:
    width = len(fields.split(", "))
    try:
        table = [tuple(float(value) for value in row) for row in rows]
    except TypeError:
        table = [()]
    if any(len(row) != width or not np.isfinite(row).all() for row in table):
        raise ConfigError(f"acsf: {name} is {rows!r}; it must be a list of [{fields}], finite numbers")
    for row in table:
        if fields != "kappa" and row[0] < 0:
            raise ConfigError(f"acsf: {name} has eta {row[0]}; it must not be negative")
        if width == 3 and not (row[1] >= 1 and -1 <= row[2] <= 1):
            raise ConfigError(
                f"acsf: {name} has zeta {row[1]}, lambda {row[2]}; needed are zeta >= 1 and -1 <= lambda <= 1"
            )
    return tuple(table)
