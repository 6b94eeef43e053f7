"""Energy, forces and virials of one structure by the shortest way there is: what the systems and engines must agree
with."""

from __future__ import annotations

import jax
import numpy as np

from jax_models.derivatives import atomic_virials, energies_and_gradient, forces, point_sums, virial
from jax_models.neighborhood import neighborhood_of
from jax_models.reference_points.grid_list import grid_points
from jax_models.whole_cell import enclosing_cell, energy_and_derivatives


def evaluate(potential, positions, cell, periodic, symbols) -> dict[str, np.ndarray]:
    """In double, all rows at once, not compiled, nothing kept; by the names of a contract's outputs."""
    species = potential.species_of(symbols)
    n = len(species)
    positions, cell = np.asarray(positions, float), np.asarray(cell, float)
    with jax.enable_x64(True):
        model = potential.model_in(np.float64)
        if potential.contract.kind == "global":
            box = enclosing_cell(positions, cell, periodic, model.reach)
            grid, inside = model.grid_for(box), np.ones(n, bool)
            energy, gradient, strain = energy_and_derivatives(model, positions, box, species, inside, grid)
            found = {
                "energies": np.full(n, float(energy) / n),
                "forces": -np.asarray(gradient),
                "virial": np.asarray(strain),
            }
        elif potential.contract.centers == "grid":
            points = grid_points(positions, cell, periodic, potential.contract.spacing, potential.cutoff)
            nb = points.neighborhood(positions, cell, species, np.float64)
            density, gradient = energies_and_gradient(model.energies, nb)
            found = point_sums(nb, points.weight, density, gradient, potential.cutoff, n)
            found["virial"] = found["virials"].sum(axis=0)
        else:
            nb = neighborhood_of(positions, cell, periodic, species, potential.cutoff)
            energies, gradient = energies_and_gradient(model.energies, nb)
            found = {
                "energies": np.array(energies, float),
                "forces": forces(gradient, nb.neighbors, n),
                "virial": virial(nb.vectors, gradient),
                "virials": atomic_virials(nb.vectors, gradient),
            }
    found["energies"] = found["energies"] + potential.reference_energies[species]
    return found | {"energy": found["energies"].sum()}
