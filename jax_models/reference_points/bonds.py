"""Environments seen from the middle of each bond (Lei et al., arXiv 2310.18552).

A bond belongs half to each of its atoms, and everything seen from its middle lies within the cutoff of both, so a
bond-centred model needs no more than the atoms' Neighborhoods: engines run it as they run any local model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_models.basis.cutoff import polynomial_cutoff
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood


class Bonds(eqx.Module):
    """Midpoints of all pairs closer than ``bond_cutoff``, of weight (1 - (r/bond_cutoff)^2)^3, half to each atom.

    Atoms are seen from a midpoint as far as cutoff - bond_cutoff/2.

    Args:
        cutoff: Å; of the atoms' Neighborhoods.
        bond_cutoff: Å; 0.8 of ``cutoff`` if not given.

    Raises:
        ConfigError: bond_cutoff is not above 0 and at most ``cutoff``.

    Example:
        >>> Bonds(5.0).descriptor_cutoff
        3.0
    """

    bond_cutoff: float = eqx.field(static=True)
    descriptor_cutoff: float = eqx.field(static=True)

    defaults: ClassVar[dict] = {"bond_cutoff": None}
    centers: ClassVar[str] = "atoms"

    def __init__(self, cutoff: float, *, bond_cutoff: float | None = None):
        bond_cutoff = 0.8 * cutoff if bond_cutoff is None else bond_cutoff
        if not (isinstance(bond_cutoff, int | float) and 0 < bond_cutoff <= cutoff):
            raise ConfigError(
                f"bonds: bond_cutoff is {bond_cutoff}; it must be above 0 and at most the cutoff, {cutoff} Å"
            )
        self.bond_cutoff = float(bond_cutoff)
        self.descriptor_cutoff = float(cutoff - 0.5 * bond_cutoff)

    def over_points(
        self, neighborhood: Neighborhood, function: Callable[[Neighborhood, Float[Array, " N"]], Float[Array, "N *F"]]
    ) -> Float[Array, "N *F"]:
        """Sum over the bonds of each atom of ``function(environments, weights)``, one bond of every atom at a time.

        The n-th call has the n-th nearest neighbour of each atom: calls after the largest number of bonds that an
        atom here has are skipped, whatever K is.
        """
        vectors, mask = neighborhood.vectors, neighborhood.mask
        n, k = mask.shape
        square = jnp.where(mask, jnp.sum(vectors * vectors, axis=2), jnp.inf)
        distances = jax.lax.stop_gradient(square)
        order = jnp.argsort(distances, axis=1)
        shortest = jnp.min(jnp.take_along_axis(distances, order, axis=1), axis=0)
        species = jnp.full(n, -1, jnp.int32)
        all_species = jnp.concatenate([neighborhood.neighbor_species, neighborhood.species[:, None]], axis=1)

        @jax.checkpoint
        def one_bond(rank):
            chosen = jnp.arange(k) == order[:, rank][:, None]
            bond = jnp.sum(jnp.where(chosen[..., None], vectors, 0.0), axis=1)
            bonded = jnp.any(chosen & mask, axis=1) & (jnp.sum(bond * bond, axis=1) < self.bond_cutoff**2)
            length = jnp.sqrt(jnp.where(bonded, jnp.sum(bond * bond, axis=1), 1.0))
            weights = jnp.where(bonded, 0.5 * polynomial_cutoff(length, self.bond_cutoff), 0.0)
            middle = 0.5 * jnp.where(bonded[:, None], bond, 1.0)[:, None]
            seen = jnp.concatenate([vectors - middle, -middle], axis=1)
            inside = jnp.sum(seen * seen, axis=2) < self.descriptor_cutoff**2
            present = jnp.concatenate([mask, jnp.ones((n, 1), bool)], axis=1) & inside & bonded[:, None]
            return function(Neighborhood(seen, species, all_species, present), weights)

        def step(total, rank):
            here = jax.lax.cond(
                shortest[rank] < self.bond_cutoff**2, one_bond, lambda rank: jnp.zeros_like(total), rank
            )
            return total + here, None

        start = jax.eval_shape(one_bond, 0)
        return jax.lax.scan(step, jnp.zeros(start.shape, start.dtype), jnp.arange(k))[0]
