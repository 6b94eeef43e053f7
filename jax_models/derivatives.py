"""Forces and virials, all from one array: the gradient of the energy with respect to the neighbour vectors."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from jax_models.neighborhood import PADDING, Neighborhood

EnergyFunction = Callable[[Neighborhood], Float[Array, " N"]]


def energies_and_gradient(
    energies: EnergyFunction, neighborhood: Neighborhood
) -> tuple[Float[Array, " N"], Float[Array, "N K 3"]]:
    """Energy of each centre (eV) and dE/dvectors of their sum (eV/Å); padded entries of the gradient are zero.

    Everything else follows: F_i gets +g[i, k], F_neighbors[i, k] gets -g[i, k], virial = sum of r outer g.
    """

    per_center, gradient, _ = energies_gradient_and_more(lambda nb: (energies(nb), None), neighborhood)
    return per_center, gradient


def energies_gradient_and_more(
    function: Callable[[Neighborhood], tuple[Float[Array, " N"], PyTree]], neighborhood: Neighborhood
) -> tuple[Float[Array, " N"], Float[Array, "N K 3"], PyTree]:
    """As `energies_and_gradient`, of a function that returns something else beside the energies."""

    def total(vectors):
        per_center, more = function(neighborhood._replace(vectors=vectors))
        return jnp.sum(per_center), (per_center, more)

    vectors = safe_padding(neighborhood).vectors
    (_, (per_center, more)), gradient = jax.value_and_grad(total, has_aux=True)(vectors)
    return per_center, zero_padding(gradient, neighborhood.mask), more


def members_energies_and_gradients(
    energies: Callable[[Neighborhood], Float[Array, "M N"]], neighborhood: Neighborhood
) -> tuple[Float[Array, "M N"], Float[Array, "M N K 3"]]:
    """As `energies_and_gradient` for each of M members of a committee, whose features are computed once."""
    safe = safe_padding(neighborhood)
    found, pull_back = jax.vjp(lambda v: energies(safe._replace(vectors=v)), safe.vectors)

    def gradient_of(member):
        (gradient,) = pull_back(jnp.broadcast_to(member[:, None], found.shape))
        return zero_padding(gradient, neighborhood.mask)

    return found, jax.vmap(gradient_of)(jnp.eye(len(found), dtype=found.dtype))


def safe_padding(neighborhood: Neighborhood) -> Neighborhood:
    """``neighborhood`` with every padded vector replaced by (1, 1, 1) Å, so that no 0/0 is differentiated behind its
    mask. Whoever takes a derivative of a model does this first. A model then need not guard against a padded vector,
    but still against the difference of two of them, which is zero."""
    return neighborhood._replace(vectors=jnp.where(neighborhood.mask[..., None], neighborhood.vectors, PADDING))


def zero_padding(gradient: Float[Array, "N K *rest"], mask: Bool[Array, "N K"]) -> Float[Array, "N K *rest"]:
    """``gradient``, with zero for every neighbour that is padding."""
    return jnp.where(mask[..., None], gradient, 0.0)


def forces(
    gradient: Float[np.ndarray, "N K 3"],
    neighbors: Int[np.ndarray, "N K"],
    n_atoms: int,
    centers: Int[np.ndarray, " N"] | slice | None = None,
) -> Float[np.ndarray, "A 3"]:
    """Forces on ``n_atoms`` atoms (eV/Å) from atom-centred rows, summed in float64 (NumPy).

    Args:
        gradient: dE/dvectors in eV/Å. The sums are fastest where each of its three components is contiguous.
        neighbors: the atom of each entry; entries of ``n_atoms`` and more are padding.
        n_atoms: A.
        centers: the atom of each row; None: the first N atoms.
    """
    gradient = np.asarray(gradient, float)
    result = np.zeros((n_atoms, 3))
    rows = slice(len(gradient)) if centers is None else centers
    for axis in range(3):
        component = gradient[..., axis]
        result[rows, axis] = component.sum(axis=1)
        result[:, axis] -= sum_by_neighbor(component, neighbors, n_atoms)
    return result


def sum_by_neighbor(
    values: Float[np.ndarray, "N K"], neighbors: Int[np.ndarray, "N K"], n_atoms: int
) -> Float[np.ndarray, " A"]:
    """The sum of the ``values`` that belong to each of ``n_atoms`` atoms, in float64."""
    return np.bincount(np.ravel(neighbors), weights=np.ravel(values), minlength=n_atoms)[:n_atoms]


def virial(vectors: Float[np.ndarray, "N K 3"], gradient: Float[np.ndarray, "N K 3"]) -> Float[np.ndarray, "3 3"]:
    """Sum of r outer g = dE/dstrain (eV), summed in float64; ASE's stress is this over the volume."""
    # One product of matrices, without a copy where the components come first in memory.
    r, g = (np.moveaxis(np.asarray(array, float), -1, 0).reshape(3, -1) for array in (vectors, gradient))
    return r @ g.T


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
    neighbors = np.asarray(neighborhood.neighbors)

    def per_atom(values):
        return sum_by_neighbor(values, neighbors, n_atoms)

    energies = per_atom(share)
    virials = energies[:, None, None] * np.eye(3)
    for a in range(3):
        for b in range(3):
            virials[:, a, b] += per_atom(vectors[..., a] * gradient[..., b])
    forces = -np.stack([per_atom(gradient[..., a]) for a in range(3)], axis=1)
    return {"energies": energies, "forces": forces, "virials": virials}
