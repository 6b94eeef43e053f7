"""What a potential says of the atoms of labelled structures: features, grades, forces, and each member's forces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jax_models.derivatives import energies_gradient_and_more, members_energies_and_gradients, safe_padding
from jax_models.precision import model_in
from jax_models.training.data.batches import Batch
from jax_models.training.gradient.losses import gathered_from_pairs
from jax_models.uncertainty import Uncertainty, reach


@dataclass(frozen=True)
class Measured:
    """Atoms of some structures."""

    reach: Float[np.ndarray, " N"]
    """See `jax_models.uncertainty.reach`."""
    force: Float[np.ndarray, " N"]
    """Its size, eV/Å."""
    spread: Float[np.ndarray, " N"]
    """Standard deviation of the members' forces, eV/Å."""
    error: Float[np.ndarray, " N"]
    """Of the force, eV/Å; NaN without a label."""


def some_of(batches: Sequence[Batch], most: int, seed: int) -> list[Batch]:
    """Batches drawn at random, with about ``most`` atoms; all of them where there are fewer."""
    chosen: list[Batch] = []
    n = 0
    for index in np.random.default_rng([seed, 13]).permutation(len(batches)):
        if n >= most:
            break
        chosen.append(batches[index])
        n += _n_atoms(batches[index])
    return chosen


def stacked_features(model: Any, batches: Sequence[Batch]) -> tuple[Float[np.ndarray, "N F"], Int[np.ndarray, " N"]]:
    """Features that ``model`` makes of the atoms of ``batches``, and the index of their elements."""

    @jax.jit
    def features_of(batch: Batch):
        nb = safe_padding(batch.neighborhood)
        return model_in(model, nb.vectors.dtype).energies_and_features(nb)[1]

    parts = [(np.asarray(features_of(_on_device(b))), b.neighborhood.species, _n_atoms(b)) for b in batches]
    return (
        np.concatenate([features[:n] for features, _, n in parts]),
        np.concatenate([species[:n] for _, species, n in parts]),
    )


def measured(model: Any, uncertainty: Uncertainty, batches: Sequence[Batch]) -> Measured | None:
    """Of all atoms of ``batches``; None where there are none."""
    if not batches:
        return None

    @jax.jit
    def of(batch: Batch):
        nb, dtype = batch.neighborhood, batch.neighborhood.vectors.dtype
        cast, beside = model_in(model, dtype), model_in(uncertainty, dtype)
        _, gradient, features = energies_gradient_and_more(cast.energies_and_features, nb)
        _, gradients = members_energies_and_gradients(lambda nb: beside.members_energies(cast, nb), nb)
        forces = gathered_from_pairs(gradient, batch.reverse, nb.mask)
        members = jax.vmap(lambda g: gathered_from_pairs(g, batch.reverse, nb.mask))(gradients)
        error = jnp.where(batch.force_weight > 0, jnp.linalg.norm(forces - batch.forces, axis=1), jnp.nan)
        spread = jnp.sqrt(jnp.sum(jnp.var(members, axis=0, ddof=1), axis=1))
        reached = reach(beside.grade(features, nb.species), nb.neighbors, nb.mask, jnp)
        return reached, jnp.linalg.norm(forces, axis=1), spread, error

    parts = [[np.asarray(column, float)[: _n_atoms(b)] for column in of(_on_device(b))] for b in batches]
    return Measured(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _n_atoms(batch: Batch) -> int:
    return int(np.sum(batch.n_atoms[np.asarray(batch.energy_weight) > 0]))


def _on_device(batch: Batch) -> Batch:
    return jax.tree.map(jnp.asarray, batch)
