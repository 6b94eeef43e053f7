"""What the networks see of a pair: its distance, in a radial basis, and a smooth cutoff."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.cutoff import cosine_cutoff
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

CUTOFFS = ("polynomial", "cosine")


def distances(neighborhood: Neighborhood) -> Float[Array, "N K"]:
    """Å."""
    return jnp.sqrt(jnp.sum(neighborhood.vectors**2, axis=-1))


def envelope(r: Float[Array, "*n"], cutoff: float, cutoff_fn: str, p: int = 5) -> Float[Array, "*n"]:
    """1 at r = 0, 0 from the cutoff on.

    "polynomial" has two continuous derivatives at the cutoff (Gasteiger et al., ICLR 2020, eq. 8); "cosine" is what
    SchNet and PaiNN were published with, and its second derivative jumps there.
    """
    if cutoff_fn == "cosine":
        return cosine_cutoff(r, cutoff)
    x = jnp.minimum(r * (1.0 / cutoff), 1.0)
    return 1.0 - 0.5 * (p + 1) * (p + 2) * x**p + p * (p + 2) * x ** (p + 1) - 0.5 * p * (p + 1) * x ** (p + 2)


def xplor(r: Float[Array, "*n"], cutoff: float, start: float) -> Float[Array, "*n"]:
    """1 up to ``start``, then down to 0 at the cutoff with one continuous derivative (Brooks et al., J. Comput. Chem.
    4, 187, 1983)."""
    u, on, off = jnp.clip(r, start, cutoff) ** 2, start**2, cutoff**2
    return (off - u) ** 2 * (off + 2.0 * u - 3.0 * on) * (1.0 / (off - on) ** 3)


def gaussians(r: Float[Array, "*n"], n_rbf: int, cutoff: float) -> Float[Array, "*n R"]:
    """exp(-(r - mu)^2 / (2 d^2)), centres mu a distance d apart from 0 to the cutoff."""
    offsets = np.linspace(0.0, cutoff, n_rbf)
    width = offsets[1] - offsets[0] if n_rbf > 1 else cutoff
    return jnp.exp((-0.5 / width**2) * (r[..., None] - jnp.asarray(offsets, r.dtype)) ** 2)


def bessel(r: Float[Array, "*n"], n_rbf: int, cutoff: float) -> Float[Array, "*n R"]:
    """sin(n pi r / cutoff) / r for n = 1 ... n_rbf (Gasteiger et al., ICLR 2020, eq. 7), by the sine's recurrence."""
    angle = (np.pi / cutoff) * r
    twice_cosine = 2.0 * jnp.cos(angle)
    values = [jnp.sin(angle) / r]
    previous = jnp.zeros_like(r)
    for _ in range(n_rbf - 1):
        values.append(twice_cosine * values[-1] - previous)
        previous = values[-2]
    return jnp.stack(values, axis=-1)


def smooth_bessel(r: Float[Array, "*n"], n_rbf: int, cutoff: float) -> Float[Array, "*n R"]:
    """Orthonormal combinations of Bessel functions that end at the cutoff with no slope (Kocer, Mason, Erturk, J. Chem.
    Phys. 150, 154102, eqs. 6 to 9)."""
    return bessel(r, n_rbf + 1, cutoff) @ jnp.asarray(_smooth_combinations(n_rbf, cutoff), r.dtype)


def _smooth_combinations(n_rbf: int, cutoff: float) -> Float[np.ndarray, "R+1 R"]:
    """What `smooth_bessel` makes of the functions of `bessel`."""
    combinations = np.zeros((n_rbf + 1, n_rbf))
    d = 1.0
    for n in range(n_rbf):
        f = np.zeros(n_rbf + 1)
        f[n : n + 2] = (-1.0) ** n * np.sqrt(2.0 / cutoff / ((n + 1) ** 2 + (n + 2) ** 2)) * np.array([n + 2, n + 1])
        e = n**2 * (n + 2) ** 2 / (4.0 * (n + 1) ** 4 + 1.0)
        previous, d = d, 1.0 - e / d
        combinations[:, n] = (f + np.sqrt(e / previous) * combinations[:, n - 1]) / np.sqrt(d)
    return combinations


def check_cutoff_fn(architecture: str, cutoff_fn: str) -> None:
    """Raises:
    ConfigError: ``cutoff_fn`` is not one of `CUTOFFS`.
    """
    if cutoff_fn not in CUTOFFS:
        raise ConfigError(f"{architecture}: cutoff_fn is {cutoff_fn!r}; it must be {' or '.join(CUTOFFS)}")
