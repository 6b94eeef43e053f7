"""One term of a many-body tensor representation: a geometry function, its weight, and the grid it is broadened on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.cutoff import polynomial_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

DEGREES = {"atomic_number": 1, "distance": 2, "inverse_distance": 2, "angle": 3, "cosine": 3}
WEIGHTS = {1: ("unity",), 2: ("unity", "exp", "inverse_square"), 3: ("unity", "exp", "smooth_cutoff")}


class Term(NamedTuple):
    """Settings of one term; hashable."""

    function: str
    """Of the geometry."""
    low: float
    high: float
    sigma: float
    n: int
    weight: str
    scale: float
    threshold: float
    """Weights below it are dropped, as in DScribe; 0: none is, and neighbours fade out at the cutoff instead."""
    r_cut: float
    sharpness: float

    @property
    def degree(self) -> int:
        return DEGREES[self.function]

    @property
    def reach(self) -> float:
        """Where the weight ends (Å); 0 where nothing says so."""
        if self.weight == "exp" and self.threshold > 0:
            return -math.log(self.threshold) / self.scale / (self.degree - 1)
        return self.r_cut


def checked_term(geometry: Any, grid: Any, weighting: Any) -> Term:
    """A term from DScribe's three dictionaries.

    Raises:
        ConfigError: something is missing, unknown or out of range.
    """
    function = geometry.get("function") if isinstance(geometry, dict) else None
    if function not in DEGREES:
        raise ConfigError(
            f"mbtr: geometry is {geometry!r}; it must be {{'function': ...}} with one of {', '.join(DEGREES)}"
        )
    if not (isinstance(grid, dict) and set(grid) == {"min", "max", "sigma", "n"}):
        raise ConfigError(f"mbtr: grid is {grid!r}; it must give min, max, sigma and n")
    low, high, sigma = (float(grid[name]) for name in ("min", "max", "sigma"))
    if not (low < high and sigma > 0 and isinstance(grid["n"], int) and 2 <= grid["n"] <= 1000):
        raise ConfigError(
            f"mbtr: grid is {grid}; min must be below max, sigma positive, and n a whole number from 2 to 1000"
        )
    if sigma < 0.25 * (high - low) / (grid["n"] - 1):
        raise ConfigError(
            f"mbtr: the grid of {grid['n']} points from {low} to {high} is too coarse for Gaussians of sigma {sigma}; "
            f"take at least {math.ceil(0.25 * (high - low) / sigma) + 1} points or a larger sigma"
        )
    weighting = {"function": "unity"} if weighting is None else dict(weighting)
    kind = weighting.pop("function", None)
    if kind not in WEIGHTS[DEGREES[function]]:
        allowed = ", ".join(WEIGHTS[DEGREES[function]])
        raise ConfigError(f"mbtr: weighting function for {function} is {kind!r}; choose from {allowed}")
    unknown = set(weighting) - {"scale", "threshold", "r_cut", "sharpness"}
    if unknown or not all(isinstance(v, int | float) and v > 0 for v in weighting.values()):
        raise ConfigError(
            f"mbtr: weighting may have scale, threshold, r_cut and sharpness, positive numbers; given {weighting}"
        )
    scale, threshold = weighting.get("scale"), float(weighting.get("threshold", 0.0))
    if kind == "exp" and scale is None:
        if not (threshold > 0 and "r_cut" in weighting):
            raise ConfigError("mbtr: weighting exp needs scale, or r_cut and threshold")
        scale = -math.log(threshold) / weighting["r_cut"] / (DEGREES[function] - 1)
    if kind in ("inverse_square", "smooth_cutoff") and "r_cut" not in weighting:
        raise ConfigError(f"mbtr: weighting {kind} needs r_cut")
    r_cut, sharpness = float(weighting.get("r_cut", 0.0)), float(weighting.get("sharpness", 2.0))
    return Term(function, low, high, sigma, grid["n"], kind, float(scale or 0.0), threshold, r_cut, sharpness)


def broadened(
    term: Term,
    values: Float[Array, "..."],
    weights: Float[Array, "..."],
    collect: Callable[[Float[Array, "..."]], Float[Array, "*S"]],
    normalize_gaussians: bool,
) -> Float[Array, "n *S"]:
    """Sum (by ``collect``) of a Gaussian at each value, averaged over each grid interval as DScribe does.

    Grid points are done one at a time: all at once would not fit the cache or, for a large cell, the memory.
    """
    step = (term.high - term.low) / (term.n - 1)
    edges = jnp.asarray(term.low - step / 2 + step * np.arange(term.n + 1), values.dtype)
    inverse_width = 1.0 / (term.sigma * math.sqrt(2.0))

    @jax.checkpoint
    def below(edge):
        return collect(weights * (0.5 + 0.5 * jax.lax.erf((edge - values) * inverse_width)))

    cumulative = jax.lax.map(below, edges)
    scale = 1.0 if normalize_gaussians else term.sigma * math.sqrt(2 * math.pi)
    return (cumulative[1:] - cumulative[:-1]) * (scale / step)


def pair_values(
    term: Term, neighborhood: Neighborhood, cutoff: float
) -> tuple[Float[Array, "N K"], Float[Array, "N K"]]:
    """Geometry and weight of each neighbour (k = 2)."""
    r, _ = distances_and_directions(neighborhood)
    weights = jnp.where(neighborhood.mask, _weight(term, r, r), 0.0)
    return (r if term.function == "distance" else 1.0 / r), weights * _fading(term, r, cutoff)


def triple_values(
    term: Term, neighborhood: Neighborhood, cutoff: float, middle: bool
) -> tuple[Float[Array, "N K K"], Float[Array, "N K K"]]:
    """Geometry and weight of each ordered pair (j, k) of neighbours (k = 3): the angle at the centre (``middle``),
    where each unordered pair has half the weight in either order, or the angle at j between the centre and k."""
    r, unit = distances_and_directions(neighborhood)
    x, y, z = (r * u for u in unit)
    pairs = neighborhood.mask[:, :, None] & neighborhood.mask[:, None, :] & ~jnp.eye(r.shape[1], dtype=bool)
    between = [c[:, None, :] - c[:, :, None] for c in (x, y, z)]  # from j to k
    square = jnp.where(pairs, sum(d * d for d in between), 1.0)
    far = jnp.sqrt(jnp.where(square > 1e-12, square, 1e-12))
    first = [jnp.broadcast_to(c[:, :, None], far.shape) for c in (x, y, z)]
    if middle:
        second = [jnp.broadcast_to(c[:, None, :], far.shape) for c in (x, y, z)]
        arms = r[:, :, None], r[:, None, :]
    else:
        first, second = [-c for c in first], between
        arms = r[:, :, None], far
    dot = sum(a * b for a, b in zip(first, second, strict=True))
    if term.function == "cosine":
        values = dot / (arms[0] * arms[1])
    else:
        cross = sum((first[a] * second[b] - first[b] * second[a]) ** 2 for a, b in ((0, 1), (1, 2), (2, 0)))
        # The arc cosine has no derivative for neighbours in line; this one, rounded off at 1e-5 degrees, has.
        values = jnp.degrees(jnp.arctan2(jnp.sqrt(cross + (1e-7 * arms[0] * arms[1]) ** 2), dot))
    weights = _weight(term, r[:, :, None] + r[:, None, :] + far, *arms)
    weights = weights * _fading(term, r, cutoff)[:, :, None] * _fading(term, r, cutoff)[:, None, :]
    return jnp.where(pairs, values, 0.0), jnp.where(pairs, weights, 0.0) * (0.5 if middle else 1.0)


def _weight(term: Term, length, first, second=None):
    """``length``: the distance (k = 2) or the way around the triangle (k = 3); ``first``, ``second``: arms of the
    angle."""
    if term.weight == "exp":
        value = jnp.exp(-term.scale * length)
        return jnp.where(value < term.threshold, 0.0, value)
    if term.weight == "inverse_square":
        return jnp.where(length <= term.r_cut, 1.0 / (length * length), 0.0)
    if term.weight == "smooth_cutoff":
        return _switch(term, first) * _switch(term, second)
    return jnp.ones_like(length)


def _switch(term: Term, r):
    t, y = jnp.minimum(r * (1.0 / term.r_cut), 1.0), term.sharpness
    return 1.0 + y * t ** (y + 1) - (y + 1) * t**y


def _fading(term: Term, r, cutoff: float):
    return polynomial_cutoff(r, cutoff) if term.threshold == 0 and term.r_cut == 0 else jnp.ones_like(r)
