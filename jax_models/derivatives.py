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


def forces(
    gradient: Float[np.ndarray, "N K 3"], neighbors: Int[np.ndarray, "N K"], n_atoms: int
) -> Float[np.ndarray, "A 3"]:
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


def atomic_virials(
    vectors: Float[np.ndarray, "N K 3"], gradient: Float[np.ndarray, "N K 3"]
) -> Float[np.ndarray, "N 3 3"]:
    """Each centre's share of the virial (eV); not symmetric atom by atom (Fan et al., PRB 92, 094301)."""
    return np.einsum("nka,nkb->nab", np.asarray(vectors, float), np.asarray(gradient, float))


def point_sums(
    neighborhood: Neighborhood,
    weight: float,
    density: Float[np.ndarray, " P"],
    gradient: Float[np.ndarray, "P K 3"],
    cutoff: float,
    n_atoms: int,
) -> dict[str, np.ndarray]:
    """What grid points give to atoms, summed in float64: ``energies[A]``, ``forces[A, 3]`` and ``virials[A, 3, 3]``.

    The points move with the cell and ``weight`` (Å^3) grows with it, so that the virial is sum of r outer g plus the
    energy times the identity. A point's energy is shared by the atoms it sees as (1 - (r/cutoff)^2)^3.

    Args:
        neighborhood: rows are points, ``neighbors`` atoms.
        density: eV/Å^3, and ``gradient`` its derivative, as the model gives them.
    """
    gradient = weight * np.asarray(gradient, float)
    vectors = np.asarray(neighborhood.vectors, float)
    share = np.maximum(1.0 - (vectors**2).sum(axis=2) / cutoff**2, 0.0) ** 3 * neighborhood.mask
    # A point at the very edge, seen by rounding alone, has nothing to share.
    share *= (weight * np.asarray(density, float) / np.maximum(share.sum(axis=1), 1e-300))[:, None]
    flat = np.asarray(neighborhood.neighbors).ravel()

    def per_atom(values):
        return np.bincount(flat, weights=values.ravel(), minlength=n_atoms)

    energies = per_atom(share)
    virials = energies[:, None, None] * np.eye(3)
    for a in range(3):
        for b in range(3):
            virials[:, a, b] += per_atom(vectors[..., a] * gradient[..., b])
    forces = -np.stack([per_atom(gradient[..., a]) for a in range(3)], axis=1)
    return {"energies": energies, "forces": forces, "virials": virials}
