"""Energy, forces and virials of one structure by the shortest way there is: what the systems and engines must agree
with."""

from __future__ import annotations

import jax
import numpy as np

from jax_models.derivatives import atomic_virials, energies_and_gradient, forces, point_sums, virial
from jax_models.neighborhood import Neighborhood, neighborhood_of
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


def evaluate_together(potential, structures) -> list[dict[str, np.ndarray]]:
    """Of a local potential, several structures in one compiled call: rows of different structures know nothing of each
    other. Of one that passes messages, one structure. By the names of a contract's outputs."""
    neighborhoods = []
    for positions, cell, periodic, symbols in structures:
        species = potential.species_of(symbols)
        neighborhoods.append(neighborhood_of(positions, cell, periodic, species, potential.cutoff))
    width = max(nb.mask.shape[1] for nb in neighborhoods)

    def rows(name, padding):
        widened = []
        for nb in neighborhoods:
            field = getattr(nb, name)
            pads = [(0, 0), (0, width - nb.mask.shape[1]), *[(0, 0)] * (field.ndim - 2)]
            widened.append(np.pad(field, pads, constant_values=padding))
        return np.concatenate(widened)

    species = np.concatenate([nb.species for nb in neighborhoods])
    together = Neighborhood(
        rows("vectors", 1.0), species, rows("neighbor_species", 0), rows("mask", False), rows("neighbors", 0)
    )
    with jax.enable_x64(True):
        model = potential.model_in(np.float64)
        energies, gradient = jax.jit(lambda nb: energies_and_gradient(model.energies, nb))(together)
    energies = np.asarray(energies) + potential.reference_energies[species]
    results, start = [], 0
    for nb in neighborhoods:
        own = slice(start, start := start + len(nb.species))
        vectors, g = together.vectors[own], np.asarray(gradient)[own]
        results.append(
            {
                "energies": energies[own],
                "energy": energies[own].sum(),
                "forces": forces(g, together.neighbors[own], len(nb.species)),
                "virial": virial(vectors, g),
            }
        )
    return results
