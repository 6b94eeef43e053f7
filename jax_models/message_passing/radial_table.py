"""Radial networks as cubic splines: a function of one distance need not be a network again for every pair.

In single precision the engines look radial functions up. A layer has hundreds of them, and they are combinations of
few: their splines are factorised, so that some forty numbers are looked up for a pair (twenty for PaiNN, whose filters
are linear in twenty functions) and a matrix product makes the rest. XLA gathers one number at a time; looking up every
function took half the time of a layer. With 512 intervals the result differs by less than single precision does
elsewhere. It has two continuous derivatives, and forces are its own derivative, so energy is conserved as before.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

INTERVALS = 512
OUTER_INTERVALS = 128
"""Of the second spline, from a kink to the cutoff."""
EMPTY_ROWS = 4
"""Rows of zeros after the last, where distances beyond the cutoff are looked up."""
TOLERANCE = 1e-7
"""Size, relative to the largest, below which a singular value of the table is left out."""


class RadialTable(eqx.Module):
    """C functions of the distance, from 0 to ``cutoff`` (Å), and zero beyond."""

    coefficients: Float[Array, "G R"]
    mixing: Float[Array, "R C"] | None
    """None where the functions themselves are looked up (R = C): no fewer would do."""
    cutoff: float = eqx.field(static=True)
    kink: float = eqx.field(static=True, default=0.0)
    """Å, where one spline ends and another begins; 0 where one reaches to the cutoff."""

    def __call__(self, r: Float[Array, "N K"]) -> Float[Array, "N K C"]:
        last = self.coefficients.shape[0] - EMPTY_ROWS
        if self.kink > 0.0:
            outer = (INTERVALS + 3) + (r - self.kink) * (OUTER_INTERVALS / (self.cutoff - self.kink))
            x = jnp.where(r < self.kink, r * (INTERVALS / self.kink), outer)
        else:
            x = r * (INTERVALS / self.cutoff)
        x = jnp.where(r < self.cutoff, x, jnp.asarray(last, r.dtype))
        values = _spline(self.coefficients, x)
        return values if self.mixing is None else values @ self.mixing


@jax.custom_vjp
def _spline(coefficients: Float[Array, "G R"], x: Float[Array, "N K"]) -> Float[Array, "N K R"]:
    t = x - jnp.floor(x)
    s = 1.0 - t
    weights = s**3 / 6.0, (3.0 * t**3 - 6.0 * t**2 + 4.0) / 6.0, (3.0 * s**3 - 6.0 * s**2 + 4.0) / 6.0, t**3 / 6.0
    return _combine(coefficients, x, weights)


def _combine(coefficients, x, weights):
    first = jnp.floor(x).astype(jnp.int32)
    return sum(w[..., None] * jnp.take(coefficients, first + q, axis=0, mode="clip") for q, w in enumerate(weights))


def _spline_forward(coefficients, x):
    return _spline(coefficients, x), (coefficients, x)


def _spline_backward(residuals, cotangent):
    # XLA's own derivative keeps all four rows of every pair; this one looks them up again, at a third of the time.
    coefficients, x = residuals
    t = x - jnp.floor(x)
    s = 1.0 - t
    weights = -0.5 * s**2, 1.5 * t**2 - 2.0 * t, 2.0 * s - 1.5 * s**2, 0.5 * t**2
    slope = jnp.sum(cotangent * _combine(coefficients, x, weights), axis=-1)
    return jnp.zeros_like(coefficients), slope


_spline.defvjp(_spline_forward, _spline_backward)


def tabulate(
    function: Callable[[Float[Array, " R"]], Float[Array, "R C"]], cutoff: float, kink: float = 0.0
) -> RadialTable:
    """The spline through ``function`` at equal steps from 0 to ``cutoff`` (Å), where it ends with no slope.

    ``function`` is evaluated in float64; it must vanish at the cutoff with its derivative. Where its second derivative
    jumps at a ``kink`` (Å), two splines meet there.
    """
    if kink > 0.0:
        inner = _through(function, np.linspace(0.0, kink, INTERVALS + 1), flat_end=False)
        outer = _through(function, np.linspace(kink, cutoff, OUTER_INTERVALS + 1), flat_end=True)
        coefficients = np.concatenate([inner, outer])
    else:
        coefficients = _through(function, np.linspace(0.0, cutoff, INTERVALS + 1), flat_end=True)
    left, sizes, mixing = np.linalg.svd(coefficients, full_matrices=False)
    rank = max(1, int((sizes > TOLERANCE * sizes[0]).sum()))
    factorised = 2 * rank <= coefficients.shape[1]
    factors = left[:, :rank] * sizes[:rank] if factorised else coefficients
    padded = np.concatenate([factors, np.zeros((EMPTY_ROWS, factors.shape[1]))])
    return RadialTable(
        jnp.asarray(padded, jnp.float32), jnp.asarray(mixing[:rank], jnp.float32) if factorised else None, cutoff, kink
    )


def _through(
    function: Callable[[Float[Array, " R"]], Float[Array, "R C"]], nodes: Float[np.ndarray, " R"], flat_end: bool
) -> Float[np.ndarray, "G C"]:
    """Coefficients of the cubic spline through ``function`` at equal steps: three more than there are intervals."""
    n = len(nodes) - 1
    nodes = np.where(nodes == 0.0, 1e-6 * nodes[-1], nodes)  # a Bessel function is 0/0 at 0
    with jax.enable_x64(True):
        values = np.asarray(function(jnp.asarray(nodes)), float)
    system, right = np.zeros((n + 3, n + 3)), np.zeros((n + 3, values.shape[1]))
    for i in range(n + 1):
        system[i, i : i + 3] = 1 / 6, 4 / 6, 1 / 6
    right[: n + 1] = values
    system[n + 1, :5] = 1, -4, 6, -4, 1  # the first two intervals are one cubic
    if flat_end:
        system[n + 2, n : n + 3] = -1, 0, 1  # no slope at the cutoff
    else:
        system[n + 2, n - 2 :] = 1, -4, 6, -4, 1
    return np.linalg.solve(system, right)
