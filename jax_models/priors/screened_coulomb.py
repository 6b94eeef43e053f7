"""Screened nuclear repulsion as other codes have it: parameters for each pair of elements, a switch between two
distances. It adds to what a potential learned in its presence, which sees every distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jax_models.basis.cutoff import cosine_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.species import pair_values
from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood
from jax_models.priors.zbl import AMPLITUDES, DECAYS
from jax_models.units import COULOMB

SWITCHES = ("cosine", "polynomial")


class ScreenedCoulomb(eqx.Module):
    """Pair repulsion q_ij / r sum_n a_n exp(-d_n r), switched off between two distances: half of each pair a centre.

    Args:
        elements: of the model.
        cutoff: Å; of the model.
        inner, outer: Å; the switch is 1 up to ``inner`` and 0 from ``outer`` on.
        switch: "cosine", (1 + cos(pi u))/2 with u = (r - inner)/(outer - inner) between 0 and 1, or "polynomial", the
            envelope of `power` p of DimeNet (Gasteiger et al., ICLR 2020, eq. 8).
        power: p.

    Raises:
        ConfigError: distances that make no sense, an unknown switch.
    """

    charge: Float[Array, "S S"]
    """Z_i Z_j e^2/(4 pi eps0) in eV Å."""
    amplitudes: Float[Array, "4 S S"]
    decays: Float[Array, "4 S S"]
    """1/Å"""
    inner: Float[Array, "S S"]
    """Å"""
    outer: Float[Array, "S S"]
    """Å"""
    switch: str = eqx.field(static=True)
    power: int = eqx.field(static=True)

    defaults: ClassVar[dict] = {"inner": 0.7, "outer": 1.4, "switch": "cosine", "power": 6}
    by_pair: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        elements: Sequence[str],
        cutoff: float = np.inf,
        *,
        inner: float = 0.7,
        outer: float = 1.4,
        switch: str = "cosine",
        power: int = 6,
    ):
        if not 0 <= inner < outer <= cutoff:
            raise ConfigError(
                f"screened_coulomb: inner is {inner} Å and outer {outer} Å; they must be in this order, between 0 and "
                f"the cutoff of {cutoff} Å"
            )
        if switch not in SWITCHES or not 1 <= power <= 20:
            raise ConfigError(
                f"screened_coulomb: switch is {switch!r} of power {power}; it must be one of {', '.join(SWITCHES)}, of "
                "a power between 1 and 20"
            )
        z = np.array([ATOMIC_NUMBERS[element] for element in elements], float)
        ones = np.ones((len(z), len(z)))
        self.charge = jnp.asarray(COULOMB * np.outer(z, z))
        self.amplitudes = jnp.asarray([a * ones for a in AMPLITUDES])
        self.decays = jnp.asarray([d * np.add.outer(z**0.23, z**0.23) / 0.46850 for d in DECAYS])
        self.inner, self.outer = jnp.asarray(inner * ones), jnp.asarray(outer * ones)
        self.switch, self.power = switch, power

    def only(self, rows: tuple[int, ...]) -> ScreenedCoulomb:
        """The same repulsion for some of its elements, by their places."""
        pairs = np.ix_(rows, rows)
        return jax.tree.map(lambda table: table[..., *pairs], self)

    def lengthened(self, neighborhood: Neighborhood) -> Neighborhood:
        """The learned part sees every distance as it is."""
        return neighborhood

    def split(self, neighborhood: Neighborhood) -> tuple[Neighborhood, Float[Array, " N"]]:
        return neighborhood, self(neighborhood)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        return _where_close(jax.lax.stop_gradient(self), neighborhood.vectors, neighborhood._replace(vectors=None))

    def close(self, neighborhood: Neighborhood) -> Bool[Array, ""]:
        """Whether any pair is within ``outer``."""
        vectors = neighborhood.vectors
        outer = pair_values(self.outer, neighborhood, vectors.dtype)
        return jnp.any(neighborhood.mask & (jnp.sum(vectors * vectors, axis=-1) < outer * outer))

    def repulsion(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        """Half of each pair's repulsion (eV) a centre."""
        r, _ = distances_and_directions(neighborhood)
        inner, outer, charge = (
            pair_values(table, neighborhood, r.dtype) for table in (self.inner, self.outer, self.charge)
        )
        near = neighborhood.mask & (r < outer)
        r = jnp.where(near, r, outer)
        phi = sum(
            pair_values(a, neighborhood, r.dtype) * jnp.exp(-pair_values(d, neighborhood, r.dtype) * r)
            for a, d in zip(self.amplitudes, self.decays, strict=True)
        )
        u = jnp.clip((r - inner) / (outer - inner), 0.0, 1.0)
        if self.switch == "cosine":
            switch = cosine_cutoff(u, 1.0)
        else:
            p = self.power
            switch = 1.0 - u**p * ((p + 1) * (p + 2) / 2 - u * (p * (p + 2) - u * (p * (p + 1) / 2)))
        return 0.5 * jnp.sum(jnp.where(near, charge / r * phi * switch, 0.0), axis=-1)


@jax.custom_vjp
def _where_close(prior: ScreenedCoulomb, vectors: Float[Array, "N K 3"], others: Neighborhood) -> Float[Array, " N"]:
    """The repulsion, computed where any pair is close, which is seldom; ``others`` is the Neighborhood without its
    vectors. The derivative is written out: that of a conditional would keep all intermediate numbers of either branch.
    """
    neighborhood = others._replace(vectors=vectors)
    nothing = jnp.zeros(vectors.shape[0], vectors.dtype)
    return jax.lax.cond(prior.close(neighborhood), lambda nb: prior.repulsion(nb), lambda _: nothing, neighborhood)


def _forward(prior, vectors, others):
    return _where_close(prior, vectors, others), (prior, vectors, others)


def _backward(kept, cotangent):
    prior, vectors, others = kept

    def pulled_back(cotangent):
        return jax.vjp(lambda v: prior.repulsion(others._replace(vectors=v)), vectors)[1](cotangent)[0]

    close = prior.close(others._replace(vectors=vectors))
    return None, jax.lax.cond(close, pulled_back, lambda _: jnp.zeros_like(vectors), cotangent), None


_where_close.defvjp(_forward, _backward)
