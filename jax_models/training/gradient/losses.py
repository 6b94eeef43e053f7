"""Predictions for a batch, and their errors against the labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jax_models.derivatives import energies_and_gradient, safe_padding
from jax_models.training.data.batches import Batch
from jax_models.training.data.grid_batches import GridBatch, forces_on_atoms


class Errors(NamedTuple):
    """Predicted less labelled; zero where there is no label."""

    energy: Float[Array, " B"]
    """eV/atom"""
    forces: Float[Array, "A 3"]
    """eV/Å"""
    virial: Float[Array, "B 3 3"]
    """eV/atom"""
    density: Float[Array, " R"]
    """eV/atom: of grid points, times the volume per atom; empty where rows are atoms."""


class Counts(NamedTuple):
    """How many numbers of each kind a data set has: what the sums over a batch are divided by. What is drawn anew for
    each epoch counts as often as it is seen on average."""

    energies: float
    forces: float
    virials: float
    densities: float = 0


def predict(
    model: Any, batch: Batch | GridBatch
) -> tuple[Float[Array, " B"], Float[Array, "A 3"], Float[Array, "B 3 3"]]:
    """Energies less references (eV), forces (eV/Å) and virials (eV) of a batch's structures."""
    rows, gradient = energies_and_gradient(model.energies, batch.neighborhood)
    return _gathered(rows, gradient, batch)


def _gathered(rows, gradient, batch):
    nb = batch.neighborhood
    if isinstance(batch, GridBatch):
        rows, gradient = rows * batch.volume, gradient * batch.volume[:, None, None]
        forces = forces_on_atoms(gradient, batch.entries, nb.neighbors, nb.mask)
    else:
        forces = assemble_forces(gradient, batch.reverse, nb.neighbors, nb.mask)
    virials = jnp.einsum("nka,nkb->nab", nb.vectors, gradient)
    if isinstance(batch, GridBatch):  # the volume of a grid cell grows with the cell
        virials = virials + rows[:, None, None] * jnp.eye(3, dtype=rows.dtype)
    # A product with a 0/1 matrix: a scatter would run one row at a time.
    member = (batch.structure == jnp.arange(len(batch.energy))[:, None]).astype(rows.dtype)
    return member @ rows, forces, (member @ virials.reshape(-1, 9)).reshape(-1, 3, 3)


def predict_energies(model: Any, batch: Batch) -> Float[Array, " B"]:
    """Energies less references (eV) alone: where no force is labelled, a fraction of the work."""
    per_atom = model.energies(safe_padding(batch.neighborhood))
    return (batch.structure == jnp.arange(len(batch.energy))[:, None]).astype(per_atom.dtype) @ per_atom


@jax.custom_vjp
def assemble_forces(
    gradient: Float[Array, "A K 3"], reverse: Int[Array, "A K"], neighbors: Int[Array, "A K"], mask: Bool[Array, "A K"]
) -> Float[Array, "A 3"]:
    """F_i = sum_k g[i, k] - g[reverse(i, k)]: the neighbour list holds each pair twice, so both sums are gathers.

    The transpose, f_i - f_neighbors[i, k], is a gather too; automatic differentiation would scatter.
    """
    return gathered_from_pairs(gradient, reverse, mask)


def gathered_from_pairs(
    gradient: Float[Array, "A K 3"], reverse: Int[Array, "A K"], mask: Bool[Array, "A K"]
) -> Float[Array, "A 3"]:
    """`assemble_forces` for forward differentiation, which a function with a transpose of its own does not allow."""
    returned = jnp.where(mask[..., None], gradient.reshape(-1, 3)[reverse], 0.0)
    return jnp.sum(gradient - returned, axis=1)


def _assemble_forward(gradient, reverse, neighbors, mask):
    return assemble_forces(gradient, reverse, neighbors, mask), (neighbors, mask)


def _assemble_backward(residuals, cotangent):
    neighbors, mask = residuals
    return jnp.where(mask[..., None], cotangent[:, None] - cotangent[neighbors], 0.0), None, None, None


assemble_forces.defvjp(_assemble_forward, _assemble_backward)


def errors(model: Any, batch: Batch | GridBatch, derivatives: bool = True) -> Errors:
    """Predicted less labelled; without ``derivatives``, of the energies of atom-centred models alone."""
    per_atom = 1.0 / batch.n_atoms
    if not derivatives and isinstance(batch, Batch):
        left = (predict_energies(model, batch) - batch.energy) * per_atom * batch.energy_weight
        return Errors(left, jnp.zeros_like(batch.forces), jnp.zeros_like(batch.virial), jnp.zeros(0, left.dtype))
    rows, gradient = energies_and_gradient(model.energies, batch.neighborhood)
    energies, forces, virials = _gathered(rows, gradient, batch)
    return Errors(
        (energies - batch.energy) * per_atom * batch.energy_weight,
        (forces - batch.forces) * batch.force_weight[:, None],
        (virials - batch.virial) * (per_atom * batch.virial_weight)[:, None, None],
        (rows - batch.density) * batch.density_weight if isinstance(batch, GridBatch) else jnp.zeros(0, rows.dtype),
    )


def weighed(found: Errors, batch: Batch | GridBatch) -> Errors:
    """Errors times the root of their structure's weight, whose squares are then its part of the loss."""
    roots = jnp.sqrt(batch.weight)
    # Padding belongs to no structure.
    density = found.density * jnp.append(roots, 0.0)[batch.structure] if found.density.size else found.density
    forces, virials = jnp.sqrt(batch.atom_weight)[:, None], roots[:, None, None]
    return Errors(found.energy * roots, found.forces * forces, found.virial * virials, density)


def weighted_loss(
    found: Errors,
    counts: Counts,
    energy_weight: float,
    force_weight: float,
    stress_weight: float,
    density_weight: float = 0.0,
) -> Float[Array, ""]:
    """A batch's share of the loss over the data set: weighted mean squares in eV/atom, eV/Å, eV/atom (virial) and
    eV/atom (density)."""
    return (
        energy_weight / max(counts.energies, 1) * jnp.sum(found.energy**2)
        + force_weight / max(counts.forces, 1) * jnp.sum(found.forces**2)
        + stress_weight / max(counts.virials, 1) * jnp.sum(found.virial**2)
        + density_weight / max(counts.densities, 1) * jnp.sum(found.density**2)
    )
