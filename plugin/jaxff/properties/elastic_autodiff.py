"""Exact elastic constants from second derivatives of the energy, by automatic differentiation.

With u the atoms' displacements and h the strain, the second derivatives of E(u, h) at the relaxed crystal give
C = (E_hh - E_hu E_uu^+ E_uh) / V: the Born term and the non-affine one, by which atoms answer the strain (Lutsko,
J. Appl. Phys. 65, 2991), plus what a stress that is left adds. E_uu^+ is the pseudo-inverse, without translations.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms, units
from jaxtyping import Array, Float

from jax_models import ConfigError, Potential, StructureError
from jax_models.contract import NEEDS
from jax_models.derivatives import safe_padding
from jax_models.neighborhood import Neighborhood, neighborhood_of
from jax_models.systems.system import check_process
from jaxff.properties.voigt import VOIGT, strain_of

DIFFERENTIABLE = {"neighbors", "messages"}
"""What a potential may need whose second derivatives are written here."""
ROUNDING = 1e-7
"""Force constants below this part of the largest one count as zero: those of the three translations."""


def differentiable(potential: Potential) -> bool:
    """Whether the second derivatives below are all there is: the energy is one of atoms and their neighbours, and no
    teacher's energy is added to it."""
    return set(potential.contract.needs) <= DIFFERENTIABLE


def second_derivatives(
    potential: Potential, atoms: Atoms
) -> tuple[
    Float[np.ndarray, "3 3"],
    Float[np.ndarray, "N3 N3"],
    Float[np.ndarray, "6 N3"],
    Float[np.ndarray, "6 3 3"],
    Float[np.ndarray, "N3 3 3"],
]:
    """Derivatives of the energy (eV) by displacements (Å) and strain, in double precision.

    Returns:
        dE/dstrain; the force constants d2E/du du (eV/Å^2); d2E/dh du and d2E/dh dh for the six unit strains h; and
        d2E/du dh. Strains multiply from the right: a vector r becomes r (1 + h).

    Raises:
        ConfigError: the potential is of a kind without them.
        StructureError: an element that the potential lacks.
    """
    if not differentiable(potential):
        reasons = " and ".join(NEEDS[need] for need in potential.contract.needs if need not in DIFFERENTIABLE)
        raise ConfigError(f"there are no second derivatives of a potential that {reasons}: use --method stress")
    check_process()
    n = len(atoms)
    with jax.enable_x64(True):
        model, nb = potential.model_in(np.float64), _neighborhood(potential, atoms)
        virial = np.asarray(_gradient(model, nb)[1])
        directions: list[tuple[Any, Any]] = [(np.eye(3 * n)[k].reshape(n, 3), np.zeros((3, 3))) for k in range(3 * n)]
        directions += [(np.zeros((n, 3)), strain_of(k)) for k in range(6)]
        rows = [_second(model, nb, moved, strain) for moved, strain in directions]
    by_atoms = np.array([np.ravel(row[0]) for row in rows])
    by_strain = np.array([row[1] for row in rows])
    return virial, by_atoms[: 3 * n], by_atoms[3 * n :], by_strain[3 * n :], by_strain[: 3 * n]


def elastic_matrix(potential: Potential, atoms: Atoms, clamped: bool = False) -> Float[np.ndarray, "6 6"]:
    """dstress/dstrain of a crystal (GPa), atoms following at zero force unless ``clamped``; not symmetrised.

    Args:
        potential: local or message-passing.
        atoms: a crystal without forces on its atoms.
        clamped: leave the non-affine term out.

    Raises:
        ConfigError: the potential is of another kind.
        StructureError: the atoms are at no minimum: a force constant is negative.
    """
    virial, constants, coupling, born, back = second_derivatives(potential, atoms)
    volume = atoms.get_volume()
    answers = np.zeros_like(coupling) if clamped else -coupling @ _inverse(constants)
    matrix = np.empty((6, 6))
    for k in range(6):
        strain = strain_of(k)
        change = born[k] + np.einsum("u,uab->ab", answers[k], back)
        # The stress is (1 + h)^T dE/dh over a volume that grows with the strain.
        change = (change + strain.T @ virial - virial * np.trace(strain)) / volume
        matrix[:, k] = [0.5 * (change[a, b] + change[b, a]) for a, b in VOIGT]
    return matrix / units.GPa


def _inverse(constants: Float[np.ndarray, "N3 N3"]) -> Float[np.ndarray, "N3 N3"]:
    values, vectors = np.linalg.eigh(0.5 * (constants + constants.T))
    small = ROUNDING * np.abs(values).max()
    if (values < -small).any():
        raise StructureError(
            f"the relaxed structure is not a minimum of this potential: a force constant is {values.min():.3g} eV/Å^2. "
            "Elastic constants with atoms clamped exist (--clamped), or look for the structure it falls into"
        )
    kept = values > small
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T


def _neighborhood(potential: Potential, atoms: Atoms) -> Neighborhood:
    """The neighbours as they are now. Where one is about to cross the cutoff, the energy is flat to second order for
    ace, gmp, mbtr and soap, and for networks with the polynomial cutoff. For acsf, chebyshev, power_spectrum and cosine
    cutoffs the second derivative jumps there, and this one is that of the side on which the neighbour is."""
    species = potential.species_of(atoms.get_chemical_symbols())
    positions, cell = atoms.positions, atoms.cell.array
    return neighborhood_of(positions, cell, atoms.pbc, species, potential.cutoff, bucketed=True)


def _energy(
    model: Any, nb: Neighborhood, displacements: Float[Array, "N 3"], strain: Float[Array, "3 3"]
) -> Float[Array, ""]:
    vectors = nb.vectors + displacements[nb.neighbors] - displacements[:, None]
    strained = nb._replace(vectors=vectors + vectors @ strain)
    return jnp.sum(model.energies(safe_padding(strained)))


@eqx.filter_jit
def _gradient(model: eqx.Module, nb: Neighborhood) -> tuple[Float[Array, "N 3"], Float[Array, "3 3"]]:
    zero = jnp.zeros((len(nb.species), 3)), jnp.zeros((3, 3))
    return jax.grad(lambda u, h: _energy(model, nb, u, h), argnums=(0, 1))(*zero)


@eqx.filter_jit
def _second(
    model: eqx.Module, nb: Neighborhood, displacements: Float[Array, "N 3"], strain: Float[Array, "3 3"]
) -> tuple[Float[Array, "N 3"], Float[Array, "3 3"]]:
    """The change of the gradient along one direction. Backwards twice: functions kept as StableHLO know no other
    way."""
    zero = jnp.zeros((len(nb.species), 3)), jnp.zeros((3, 3))
    _, pull = jax.vjp(jax.grad(lambda u, h: _energy(model, nb, u, h), argnums=(0, 1)), *zero)
    return pull((displacements, strain))
