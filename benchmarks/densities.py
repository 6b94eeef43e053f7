"""Training on energy densities against training on totals: error on new structures by the number of structures.

    python benchmarks/densities.py [--seeds 2] [--steps 1000] [--sizes 1 3 9 27] [--json FILE] [--plot FILE]

The answer is known: atoms are Gaussian electron densities, their superposition n(r) has the energy of a local
functional, e(n) = C_F n^(5/3) - C_X n^(4/3) (Thomas-Fermi kinetic and Dirac exchange energy densities, in eV and Å),
integrated on a fine grid. The model sees the grid's points through GMP and knows nothing of that functional. It is
trained either on each structure's total energy, or on the density at the points as well; both count in eV/atom.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from jax_models.units import BOHR, HARTREE
from jaxff.runtime import configure

C_F = 2.8712 * HARTREE * BOHR**2  # eV Å^2
C_X = 0.7386 * HARTREE * BOHR  # eV Å
WIDTH, ELECTRONS = 0.9, 3.0
CUTOFF, SPACING = 4.0, 0.85
ARCHITECTURE = {
    "descriptor": {"name": "gmp", "sigmas": [0.3, 0.6, 0.9, 1.2], "orders": [0]},
    "readout": {"name": "mlp", "hidden": [24, 24]},
    "reference_points": {"name": "grid", "spacing": SPACING},
}


def electron_density(positions, cell, counts) -> np.ndarray:
    """Superposed Gaussians of ELECTRONS each on the grid, all images that matter."""
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij"), axis=-1)
    result = np.zeros(counts)
    amplitude = ELECTRONS * (2 * np.pi * WIDTH**2) ** -1.5
    for position in positions:
        for shift in np.ndindex(3, 3, 3):
            offset = fractions @ cell - position - (np.array(shift) - 1) @ cell
            result += amplitude * np.exp(-0.5 * (offset**2).sum(axis=-1) / WIDTH**2)
    return result


def structures(number: int, seed: int) -> list:
    """Rattled and strained 4-atom cells of aluminium, labelled with energy and energy density."""
    from jax_models.training.data.structures import Structure

    generator, found = np.random.default_rng(seed), []
    for index in range(number):
        cell = 4.05 * generator.uniform(0.94, 1.06) * (np.eye(3) + generator.normal(scale=0.03, size=(3, 3)))
        sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
        positions = sites @ cell + generator.normal(scale=0.2, size=(4, 3))
        n = electron_density(positions, cell, (18, 18, 18))
        density = C_F * n ** (5 / 3) - C_X * n ** (4 / 3)
        energy = density.mean() * abs(np.linalg.det(cell))
        found.append(
            Structure(
                positions,
                cell,
                np.ones(3, bool),
                ("Al",) * 4,
                energy,
                density=density[::3, ::3, ::3],
                name=f"{seed}-{index}",
            )
        )
    return found


def error(train_on: str, size: int, seed: int, steps: int, test: list) -> float:
    """Root-mean-square error of the energy on ``test`` (eV/atom)."""
    from jax_models.training.gradient.trainer import train
    from jax_models.training.settings import Settings

    data = structures(size, seed)
    if train_on == "totals":
        data = [dataclasses.replace(s, density=None) for s in data]
    settings = Settings(
        epochs=max(1, steps // -(-size // 4)), seed=seed, validation_fraction=0.0, patience=1.0, learning_rate=0.02
    )
    potential = train(data, ARCHITECTURE, CUTOFF, settings).potential
    found = [potential.evaluate(s.positions, s.cell, s.periodic, list(s.symbols))["energy"] for s in test]
    return float(np.sqrt(np.mean([((e - s.energy) / len(s)) ** 2 for e, s in zip(found, test, strict=True)])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 3, 9, 27])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    configure()
    test = structures(24, 999)
    energies = np.array([s.energy / len(s) for s in test])
    print(
        f"{len(test)} test structures; their energies per atom vary by {1e3 * energies.std():.0f} meV "
        "(standard deviation)"
    )
    results: dict = {"totals": {}, "densities": {}}
    print(f"{'structures':>10}{'totals':>12}{'densities':>12}   energy RMSE, meV/atom, median of {options.seeds}")
    for size in options.sizes:
        for train_on, found in results.items():
            found[size] = [1e3 * error(train_on, size, seed, options.steps, test) for seed in range(options.seeds)]
        print(f"{size:10d}" + "".join(f"{np.median(found[size]):12.1f}" for found in results.values()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.plot:
        plot(results, options.plot)


def plot(results: dict, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for train_on, found in results.items():
        axes.plot(list(found), [np.median(v) for v in found.values()], "o-", label=f"trained on {train_on}")
    axes.set(xscale="log", yscale="log", xlabel="structures", ylabel="energy RMSE on new structures (meV/atom)")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
