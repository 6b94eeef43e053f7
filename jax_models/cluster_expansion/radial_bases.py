"""Radial bases of PACE (Lysogorskiy et al., npj Comput. Mater. 7, 97, 2021; names as in pacemaker).

Every function takes distances r (Å) and, broadcast to them, the bond's cutoff, the width ``dcut`` of its end and its
parameter ``lam``. Functions are zero from the cutoff on.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_models.basis.cutoff import cosine_cutoff
from jax_models.basis.radial import chebyshev

Distances = Float[Array, "N K"]


def cheb_exp_cos(r: Distances, cutoff, dcut, lam, n: int) -> list[Distances]:
    """Chebyshev polynomials of an exponential of r, enveloped by cosines over cutoff and ``dcut``."""
    low = jnp.exp(-lam)
    x = 1.0 - 2.0 * (jnp.exp(-lam * r / cutoff) - low) / (1.0 - low)
    width = jnp.where(dcut > 0, dcut, 1.0)
    last = jnp.where(dcut > 0, cosine_cutoff(jnp.clip((r - cutoff + dcut) / width, 0.0, 1.0), 1.0), 1.0)
    envelope = cosine_cutoff(r, cutoff) * last
    first, *others = chebyshev(x, n)
    return [first * envelope, *((0.5 - 0.5 * value) * envelope for value in others)]


def cheb_pow(r: Distances, cutoff, dcut, lam, n: int) -> list[Distances]:
    """Chebyshev polynomials of a power of 1 - r/cutoff."""
    # A power whose base is zero has no derivative by its logarithm; padding ends before the cutoff.
    y = jnp.maximum(1.0 - r / cutoff, 1e-12) ** lam
    return [0.5 - 0.5 * value for value in chebyshev(1.0 - 2.0 * y, n + 1)[1:]]


def cheb_linear(r: Distances, cutoff, dcut, lam, n: int) -> list[Distances]:
    """Chebyshev polynomials of 1 - r/cutoff."""
    return [0.5 - 0.5 * value for value in chebyshev(1.0 - r / cutoff, n + 1)[1:]]


def spherical_bessel(r: Distances, cutoff, dcut, lam, n: int) -> list[Distances]:
    """Orthogonal combinations of spherical Bessel functions (Kocer et al., AIP Advances 10, 015021, 2020)."""
    u = r * (math.pi / cutoff)
    # sin(k u) by its recurrence: XLA's sine is a dozen times dearer.
    sines, twice_cosine = [jnp.zeros_like(u), jnp.sin(u)], 2.0 * jnp.cos(u)
    while len(sines) < n + 2:
        sines.append(twice_cosine * sines[-1] - sines[-2])
    sinc = [sines[k] / (u * k) for k in range(1, n + 2)]
    functions: list[Distances] = []
    previous = 1.0
    for k in range(n):
        amplitude = (-1) ** k * math.sqrt(2) * math.pi * (k + 1) * (k + 2) / math.hypot(k + 1, k + 2)
        own = amplitude * cutoff**-1.5 * (sinc[k] + sinc[k + 1])
        overlap = k**2 * (k + 2) ** 2 / (4 * (k + 1) ** 4 + 1)
        norm = 1.0 - overlap / previous
        if k:
            own = own + math.sqrt(overlap / previous) * functions[-1]
        functions.append(own / math.sqrt(norm))
        previous = norm
    return functions


RADIAL_BASES: dict[str, Callable[..., list[Distances]]] = {
    "ChebExpCos": cheb_exp_cos,
    "ChebPow": cheb_pow,
    "ChebLinear": cheb_linear,
    "SBessel": spherical_bessel,
}


def inner_switch(r: Float[Array, "..."], end, width) -> Float[Array, "..."]:
    """1 up to ``end`` - ``width``, 0 from ``end`` on, with two continuous derivatives; of distances or of energies."""
    x = jnp.clip(-1.0 - 2.0 * (r - end) / jnp.where(width > 0, width, 1.0), -1.0, 1.0)
    smooth = 0.5 + 3.75 * (x / 4.0 - x**3 / 6.0 + x**5 / 20.0)
    return jnp.where(width > 0, smooth, (r < end).astype(r.dtype))


def core_repulsion(r: Distances, cutoff, prefactor, decay) -> Distances:
    """|prefactor| exp(-|decay| r^2) / r with a cosine envelope over the cutoff (eV)."""
    exponent = jnp.abs(decay) * r * r
    value = jnp.abs(prefactor) * jnp.exp(-jnp.minimum(exponent, 50.0)) / r * cosine_cutoff(r, cutoff)
    return jnp.where(exponent < 50.0, value, 0.0)
