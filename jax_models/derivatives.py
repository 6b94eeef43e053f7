"""Forces and virials, all from one array: the gradient of the energy with respect to the neighbour vectors."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.neighborhood import Neighborhood

EnergyFunction = Callable[[Neighborhood], Float[Array, " N"]]


def energies_and_gradient(
    energies: EnergyFunction, neighborhood: Neighborhood
) -> tuple[Float[Array, " N"], Float[Array, "N K 3"]]:
    """Energy of each centre (eV) and dE/dvectors of their sum (eV/Å); padded entries of the gradient are zero.

    Everything else follows: F_i gets +g[i, k], F_neighbors[i, k] gets -g[i, k], virial = sum of r outer g.
    """

    def total(vectors):
        per_center = energies(neighborhood._replace(vectors=vectors))
        return jnp.sum(per_center), per_center

    # A padded vector is replaced by a harmless one, so that no 0/0 is differentiated behind its mask.
    safe = jnp.where(neighborhood.mask[..., None], neighborhood.vectors, 1.0)
    (_, per_center), gradient = jax.value_and_grad(total, has_aux=True)(safe)
    return per_center, jnp.where(neighborhood.mask[..., None], gradient, 0.0)


def forces(gradient: Float[np.ndarray, "N K 3"], neighbors: Int[np.ndarray, "N K"], n_atoms: int) -> Float[np.ndarray, "A 3"]:
    """Forces on ``n_atoms`` atoms (eV/Å) from atom-centred rows, summed in float64 (NumPy)."""
    gradient = np.asarray(gradient, float)
    result = np.zeros((n_atoms, 3))
    result[: len(gradient)] = gradient.sum(axis=1)
    flat = np.asarray(neighbors).ravel()
    for axis in range(3):
        result[:, axis] -= np.bincount(flat, weights=gradient[..., axis].ravel(), minlength=n_atoms)
    return result


def virial(vectors: Float[np.ndarray, "N K 3"], gradient: Float[np.ndarray, "N K 3"]) -> Float[np.ndarray, "3 3"]:
    """Sum of r outer g = dE/dstrain (eV), summed in float64; ASE's stress is this over the volume."""
    return np.einsum("nka,nkb->ab", np.asarray(vectors, float), np.asarray(gradient, float))


def atomic_virials(vectors: Float[np.ndarray, "N K 3"], gradient: Float[np.ndarray, "N K 3"]) -> Float[np.ndarray, "N 3 3"]:
    """Each centre's share of the virial (eV); not symmetric atom by atom (Fan et al., PRB 92, 094301)."""
    return np.einsum("nka,nkb->nab", np.asarray(vectors, float), np.asarray(gradient, float))
