"""Screened nuclear repulsion at short range (Ziegler, Biersack, Littmark, 1985); what the learned part sees there."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jax_models.basis.directions import distances_and_directions
from jax_models.elements import ATOMIC_NUMBERS, SYMBOLS, covalent_distance
from jax_models.errors import ConfigError
from jax_models.interfaces import Prior
from jax_models.neighborhood import Neighborhood
from jax_models.units import COULOMB

AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)

INNER = 0.8
"""Of the sum of two covalent radii: atoms of ordinary matter rarely come closer, even in melts of thousands of
kelvin."""
OUTER = 1.25
"""Of ``inner``: about the length of a bond, where nothing shorter is known."""
RAMP = 0.3
"""Of ``inner``: over this range of distances the learned part stops to follow them."""

Distances = float | Mapping[str, float]
"""One distance in Å for all pairs of elements, or one for each pair: ``{"Si-O": 1.4}``."""


class ZBL(eqx.Module):
    """Pair repulsion Z_i Z_j / r phi(r / a), smoothly zero from ``outer`` on: half of each pair a centre.

    The switch (1 - (r/outer)^2)^3 keeps two derivatives continuous at ``outer``. Below ``inner`` the learned part of
    the model stops to follow the distance of a pair (see `lengthened`), so that the repulsion alone decides there.

    Args:
        elements: of the model.
        cutoff: Å; of the model.
        outer: Å; for all pairs, or for each pair of elements. A pair that is not named takes 1.25 of its ``inner``, at
            most the cutoff.
        inner: Å, in the same form; None: the learned part sees every distance. A pair that is not named takes 0.8 of
            the sum of the covalent radii, at most what fits into its ``outer``.

    Raises:
        ConfigError: a distance that is not positive, beyond the cutoff, or an ``inner`` above its ``outer``; a pair
            that is none of two elements.
    """

    charges: tuple[int, ...] = eqx.field(static=True)
    outer: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    """[S, S] in Å."""
    inner: tuple[tuple[float, ...], ...] | None = eqx.field(static=True)

    defaults: ClassVar[dict] = {"outer": 1.5, "inner": None}
    by_pair: ClassVar[tuple[str, ...]] = ("outer", "inner")
    """Settings that may be given for each pair of elements."""

    def __init__(
        self,
        elements: Sequence[str],
        cutoff: float = np.inf,
        *,
        outer: Distances = 1.5,
        inner: Distances | None = None,
    ):
        self.charges = tuple(ATOMIC_NUMBERS[e] for e in elements)
        named_outer, named_inner = _by_pair("outer", outer, elements), _by_pair("inner", inner, elements)
        found = {
            pair: _distances(pair, named_inner.get(pair), named_outer.get(pair), cutoff) for pair in _pairs(elements)
        }
        inner_table, outer_table = (
            tuple(tuple(found[pair_name(a, b)][place] for b in elements) for a in elements) for place in (0, 1)
        )
        self.inner = None if inner is None else inner_table
        self.outer = outer_table

    def only(self, rows: tuple[int, ...]) -> ZBL:
        """The same repulsion for some of its elements, by their places."""
        symbols = {row: SYMBOLS[self.charges[row] - 1] for row in rows}
        outer, inner = (
            {pair_name(symbols[i], symbols[j]): table[i][j] for i in rows for j in rows} if table else None
            for table in (self.outer, self.inner)
        )
        return ZBL(list(symbols.values()), outer=outer or {}, inner=inner)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        return self.split(neighborhood)[1]

    def lengthened(self, neighborhood: Neighborhood) -> Neighborhood:
        """What the learned part sees: vectors shorter than ``inner`` are made longer, none below 0.85 of it.

        A pair's length becomes inner h(r / inner), where h(u) = u from 1 on, 0.85 below 0.7, and has two continuous
        derivatives. A learned function says nothing of distances it never saw; so it is not asked.
        """
        return self.split(neighborhood)[0]

    def split(self, neighborhood: Neighborhood) -> tuple[Neighborhood, Float[Array, " N"]]:
        """What the learned part sees (see `lengthened`), and the repulsion of each centre (eV).

        Where no pair is close, which is nearly always, neither is computed: both would cost as much as a third of the
        default model.
        """
        vectors, energies = _short_range(self, neighborhood.vectors, neighborhood._replace(vectors=None))
        return neighborhood._replace(vectors=vectors), energies

    def close(self, neighborhood: Neighborhood) -> Bool[Array, ""]:
        """Whether any pair is within ``outer``."""
        vectors = neighborhood.vectors
        outer = _per_pair(self.outer, neighborhood, vectors.dtype)
        return jnp.any(neighborhood.mask & (jnp.sum(vectors * vectors, axis=-1) < outer * outer))

    def repulsion(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        """Half of each pair's repulsion (eV) a centre."""
        r, _ = distances_and_directions(neighborhood)
        charges = np.asarray(self.charges, float)
        z_i, z_j = _per_atom(charges, neighborhood, r.dtype)
        power_i, power_j = _per_atom(charges**0.23, neighborhood, r.dtype)
        outer = _per_pair(self.outer, neighborhood, r.dtype)
        near = neighborhood.mask & (r < outer)
        r = jnp.where(near, r, outer)
        scaled = r * ((power_i + power_j) * (1 / 0.46850))
        phi = sum(a * jnp.exp(-d * scaled) for a, d in zip(AMPLITUDES, DECAYS, strict=True))
        switch = (1.0 - (r * (1.0 / outer)) ** 2) ** 3
        pair = (COULOMB * z_i * z_j) / r * phi * switch
        return 0.5 * jnp.sum(jnp.where(near, pair, 0.0), axis=-1)

    def stretched(self, neighborhood: Neighborhood) -> Float[Array, "N K 3"]:
        """The vectors of `lengthened`."""
        vectors, mask = neighborhood.vectors, neighborhood.mask
        if self.inner is None:
            return vectors
        inner = _per_pair(self.inner, neighborhood, vectors.dtype)
        square = jnp.sum(vectors * vectors, axis=-1)
        # A neighbour on top of its centre has no direction: its vector stays zero.
        near = mask & (square < inner * inner) & (square > 0)
        r = jnp.sqrt(jnp.where(near, square, inner * inner))
        y = jnp.minimum((1.0 - r / inner) * (1.0 / RAMP), 1.0)
        stretch = inner * (1.0 - RAMP * y * (1.0 - y * y * (1.0 - 0.5 * y))) / r
        return vectors * jnp.where(near, stretch, 1.0)[..., None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _short_range(
    prior: ZBL, vectors: Float[Array, "N K 3"], others: Neighborhood
) -> tuple[Float[Array, "N K 3"], Float[Array, " N"]]:
    """Stretched vectors and repulsion; ``others`` is the Neighborhood without its vectors.

    The derivative is written out: that of a conditional would keep all intermediate numbers of either branch.
    """
    zero = jnp.zeros(vectors.shape[0], vectors.dtype)
    close = prior.close(others._replace(vectors=vectors))
    return jax.lax.cond(close, lambda v: _both(prior, v, others), lambda v: (v, zero), vectors)


def _both(prior: ZBL, vectors: Float[Array, "N K 3"], others: Neighborhood):
    neighborhood = others._replace(vectors=vectors)
    return prior.stretched(neighborhood), prior.repulsion(neighborhood)


def _short_range_forward(prior, vectors, others):
    return _short_range(prior, vectors, others), (vectors, others)


def _short_range_backward(prior, kept, cotangents):
    vectors, others = kept
    close = prior.close(others._replace(vectors=vectors))

    def pulled_back(cotangents):
        return jax.vjp(lambda v: _both(prior, v, others), vectors)[1](cotangents)[0]

    return jax.lax.cond(close, pulled_back, lambda cotangents: cotangents[0], cotangents), None


_short_range.defvjp(_short_range_forward, _short_range_backward)


def split(priors: Sequence[Prior], neighborhood: Neighborhood) -> tuple[Neighborhood, Float[Array, " N"]]:
    """What the learned part of a model with these priors sees, and the priors' energy of each centre (eV)."""
    seen, energies = neighborhood, jnp.zeros(neighborhood.vectors.shape[0], neighborhood.vectors.dtype)
    for prior in priors:
        if seen is neighborhood:
            seen, energy = prior.split(neighborhood)
        else:
            seen, energy = prior.split(seen)[0], prior.split(neighborhood)[1]
        energies = energies + energy
    return seen, energies


def repulsion(elements: Sequence[str], cutoff: float, shortest: Mapping[str, float]) -> dict:
    """The settings of a ZBL that acts below the distances of the data alone, so that it changes no prediction of them.

    ``inner`` is 0.8 of the sum of the covalent radii, ``outer`` 1.25 of that, but neither above the shortest distance.

    Args:
        shortest: Å; of each pair of elements in the data, where there is one.

    Example:
        >>> repulsion(["Si"], 5.0, {"Si-Si": 2.0})
        {'name': 'zbl', 'inner': {'Si-Si': 1.776}, 'outer': {'Si-Si': 2.0}}
    """
    inner, outer = {}, {}
    for pair in _pairs(elements):
        default, _ = _distances(pair, None, None, cutoff)
        least = shortest.get(pair, np.inf)
        inner[pair] = _rounded_down(min(default, least))
        outer[pair] = _rounded_down(min(OUTER * default, least, cutoff))
    return {"name": "zbl", "inner": inner, "outer": outer}


def _rounded_down(distance: float) -> float:
    return float(np.floor(1e3 * distance + 1e-9) / 1e3)


def pair_name(a: str, b: str) -> str:
    """The pair's name in settings: the lighter element first."""
    return "-".join(sorted((a, b), key=ATOMIC_NUMBERS.__getitem__))


def _pairs(elements: Sequence[str]) -> list[str]:
    return [pair_name(a, b) for a, b in itertools.combinations_with_replacement(elements, 2)]


def _by_pair(setting: str, given: Distances | None, elements: Sequence[str]) -> dict[str, float]:
    """Å of each pair that ``given`` says something of."""
    pairs = _pairs(elements)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(pairs, given)
    named = {}
    for name, distance in given.items():
        symbols = str(name).split("-")
        if len(symbols) != 2 or not set(symbols) <= set(ATOMIC_NUMBERS):
            raise ConfigError(f"zbl: {setting} names {name!r}, which is no pair of elements such as {pairs[-1]}")
        named[pair_name(*symbols)] = distance
    return named


def _distances(pair: str, inner: float | None, outer: float | None, cutoff: float) -> tuple[float, float]:
    """``inner`` and ``outer`` (Å) of a pair of elements; what is None follows from the other, the radii, the cutoff."""
    for setting, value in (("inner", inner), ("outer", outer)):
        if value is None:
            continue
        if isinstance(value, bool) or not (isinstance(value, int | float) and np.isfinite(value) and value > 0):
            raise ConfigError(f"zbl: {setting} of {pair} is {value!r}; it must be a positive distance in Å")
        if value > cutoff:
            raise ConfigError(
                f"zbl: {setting} of {pair} is {value} Å, beyond the cutoff of {cutoff} Å: the energy would jump where "
                f"a neighbour goes out of sight. Give at most {cutoff}, or a larger cutoff"
            )
    if inner is None:
        inner = min(INNER * covalent_distance(*pair.split("-")), outer or cutoff / OUTER)
    if outer is None:
        outer = min(OUTER * inner, cutoff)
    if inner > outer:
        raise ConfigError(
            f"zbl: inner of {pair} is {inner} Å, above its outer of {outer} Å: between the two nothing would keep "
            "atoms apart. Give an inner of at most outer"
        )
    return float(inner), float(outer)


def _per_atom(values: np.ndarray, neighborhood: Neighborhood, dtype):
    """Of values for each element, those of the centres [N, 1] and of the neighbours [N, K]. Comparisons, where a
    gather would be a loop over single numbers."""
    if len(values) == 1:
        return jnp.asarray(values[0], dtype), jnp.asarray(values[0], dtype)
    of_centers = _look_up(values, neighborhood.species, dtype)[:, None]
    return of_centers, _look_up(values, neighborhood.neighbor_species, dtype)


def _per_pair(table: Sequence[Sequence[float]], neighborhood: Neighborhood, dtype):
    """Of values for each pair of elements, those of every centre and neighbour [N, K]; one number where all agree."""
    first = jnp.asarray(table[0][0], dtype)
    if len({value for row in table for value in row}) == 1:
        return first
    # As differences to one of them: padding, whatever its species, then divides by no zero.
    others = np.asarray(table) - table[0][0]
    return first + sum(
        (neighborhood.neighbor_species == s) * _look_up(column, neighborhood.species, dtype)[:, None]
        for s, column in enumerate(others.T)
    )


def _look_up(values: Sequence[float] | np.ndarray, species, dtype):
    return sum((species == s) * jnp.asarray(value, dtype) for s, value in enumerate(values))
