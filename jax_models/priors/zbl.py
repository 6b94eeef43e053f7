"""Screened nuclear repulsion at short range (Ziegler, Biersack, Littmark, 1985)."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.directions import distances_and_directions
from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

COULOMB = 14.399645  # e^2 / (4 pi eps0), eV Å
AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)


class ZBL(eqx.Module):
    """Pair repulsion Z_i Z_j / r phi(r / a), smoothly zero from ``outer`` (Å) on: half of each pair a centre.

    The switch (1 - (r/outer)^2)^3 keeps two derivatives continuous at ``outer``.

    Raises:
        ConfigError: ``outer`` is not positive.
    """

    charges: tuple[int, ...] = eqx.field(static=True)
    outer: float = eqx.field(static=True)

    defaults: ClassVar[dict] = {"outer": 1.5}

    def __init__(self, elements: tuple[str, ...], *, outer: float = 1.5):
        if not outer > 0:
            raise ConfigError(f"zbl: outer is {outer}; it must be a positive distance in Å")
        self.charges = tuple(ATOMIC_NUMBERS[e] for e in elements)
        self.outer = float(outer)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        r, _ = distances_and_directions(neighborhood)
        charges = np.asarray(self.charges, float)
        z_i, z_j = _per_atom(charges, neighborhood, r.dtype)
        power_i, power_j = _per_atom(charges**0.23, neighborhood, r.dtype)
        near = neighborhood.mask & (r < self.outer)
        r = jnp.where(near, r, self.outer)
        scaled = r * ((power_i + power_j) * (1 / 0.46850))
        phi = sum(a * jnp.exp(-d * scaled) for a, d in zip(AMPLITUDES, DECAYS, strict=True))
        switch = (1.0 - (r * (1 / self.outer)) ** 2) ** 3
        pair = (COULOMB * z_i * z_j) / r * phi * switch
        return 0.5 * jnp.sum(jnp.where(near, pair, 0.0), axis=-1)


def _per_atom(values: np.ndarray, neighborhood: Neighborhood, dtype):
    """Of values for each element, those of the centres [N, 1] and of the neighbours [N, K]. Comparisons, where a
    gather would be a loop over single numbers."""

    def look_up(species):
        return sum((species == s) * jnp.asarray(value, dtype) for s, value in enumerate(values))

    if len(values) == 1:
        return jnp.asarray(values[0], dtype), jnp.asarray(values[0], dtype)
    return look_up(neighborhood.species)[:, None], look_up(neighborhood.neighbor_species)
