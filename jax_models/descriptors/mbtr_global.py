"""Many-body tensor representation of a whole structure (Huo, Rupp; DScribe's MBTR)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.descriptors.mbtr import checked_terms, pairs_by_element, triples_by_element, unordered
from jax_models.descriptors.mbtr_terms import broadened
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

NORMALIZATIONS = ("none", "l2", "n_atoms", "valle_oganov")


def global_mbtr(
    neighborhood: Neighborhood,
    atomic_numbers: Int[np.ndarray, " S"],
    cutoff: float,
    *,
    geometry: Any,
    grid: Any,
    weighting: Any = None,
    normalize_gaussians: bool = True,
    normalization: str = "none",
    volume: float | None = None,
) -> Float[Array, " F"]:
    """Features of a structure from the environments of all its atoms; differentiable in the vectors.

    Order, n grid points a block, as DScribe's: k = 1 by element; k = 2 by pairs z <= z'; k = 3 by the element in
    the middle, then pairs z <= z' of the ends. Every pair of atoms of the crystal counts once a cell, and so does
    every angle, so that a supercell's features are those of the cell times the number of cells.

    Args:
        neighborhood: of all atoms of the cell, from a list that reaches as far as the weights.
        atomic_numbers: of the elements, in the order of the species.
        cutoff: Å, of that list; where no weighting ends by itself, neighbours fade out there.
        geometry, grid, weighting, normalize_gaussians: as in `MBTR`; geometry may be "atomic_number" too (k = 1).
        normalization: "none", "l2", "n_atoms", or "valle_oganov" (needs ``volume`` in Å^3).

    Raises:
        ConfigError: as `MBTR`, or an unknown normalization.

    Example:
        >>> nb = Neighborhood(np.ones((2, 1, 3)), np.zeros(2, int), np.zeros((2, 1), int), np.ones((2, 1), bool))
        >>> grid = {"min": 0.0, "max": 4.0, "sigma": 0.2, "n": 30}
        >>> global_mbtr(nb, np.array([14]), 5.0, geometry={"function": "distance"}, grid=grid).shape
        (30,)
    """
    if normalization not in NORMALIZATIONS or (normalization == "valle_oganov" and not volume):
        raise ConfigError(
            f"mbtr: normalization is {normalization!r}; choose from {', '.join(NORMALIZATIONS)} (the last "
            "needs a periodic cell)"
        )
    terms = checked_terms(geometry, grid, weighting)
    dtype = neighborhood.vectors.dtype
    species = jnp.arange(len(atomic_numbers))
    kinds = (neighborhood.neighbor_species[..., None] == species).astype(dtype)
    own = (neighborhood.species[:, None] == species).astype(dtype)
    counts = jnp.maximum(jnp.sum(own, axis=0), 1.0)
    first, second = np.triu_indices(len(atomic_numbers))
    features = []
    norm: Any
    for term in terms:
        if term.degree == 1:
            numbers = jnp.asarray(atomic_numbers, dtype)
            blocks = broadened(term, numbers, jnp.sum(own, axis=0), lambda w: w, normalize_gaussians)
            norm = 1.0
        elif term.degree == 2:
            by_element = pairs_by_element(term, neighborhood, kinds, cutoff, normalize_gaussians)
            # Each pair is met from both its atoms.
            blocks = 0.5 * unordered(jnp.einsum("gns,nc->gcs", by_element, own)[:, None])[..., 0]
            norm = volume and volume / (
                jnp.where(first == second, 0.5, 1.0) * counts[first] * counts[second] * 4 * jnp.pi
            )
        else:
            by_pair = unordered(triples_by_element(term, neighborhood, kinds, cutoff, normalize_gaussians))
            blocks = jnp.einsum("gpn,nc->gcp", by_pair, own).reshape(term.n, -1)
            norm = volume and volume / (counts[:, None] * counts[first] * counts[second]).reshape(-1)
        features.append((blocks * norm if normalization == "valle_oganov" else blocks).T.reshape(-1))
    result = jnp.concatenate(features)
    if normalization == "l2":
        return result / jnp.sqrt(jnp.sum(result * result) + 1e-30)
    return result / len(neighborhood.vectors) if normalization == "n_atoms" else result
