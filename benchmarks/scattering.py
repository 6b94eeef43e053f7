"""What wavelet scattering costs, and how far its features depend on the grid.

    python benchmarks/scattering.py [--atoms 64 216 1000] [--tolerances 0.1 0.03 0.01] [--set n_max=2 ...]

Rattled silicon, features of all orders at their default settings, in double precision. Cost: seconds for the features,
and for energy, forces and stress of a linear model on them, the median of five; peak memory over that of an interpreter
with JAX; seconds of compilation before. Seconds are those of the processor, all threads together. Each size runs in a
process of its own. Grid: an 8-atom cell at 16 places on the grid; the standard deviation of each feature over them in
units of its standard deviation over ten structures (rattled up to 0.2 Å, strained by 3 %), and of the energy of a
linear model in which each feature's part varies alike over them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np


def silicon(atoms: int, seed: int = 0):
    from ase.build import bulk

    side = round((atoms / 8) ** (1 / 3))
    crystal = bulk("Si", cubic=True) * (side, side, side)
    crystal.rattle(0.1, seed=seed)
    return crystal


def measure_cost(atoms: int, settings: dict) -> dict:
    import jax
    import jax.numpy as jnp

    from jax_models.models import build
    from jax_models.whole_cell import enclosing_cell, energy_and_derivatives, features_of, padded

    jnp.zeros(1).block_until_ready()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    crystal = silicon(atoms)
    found: dict = {"atoms": len(crystal)}
    with jax.enable_x64(True):
        model = build({"descriptor": {"name": "scattering", **settings}}, ("Si",), 5.0)
        system = crystal.positions, crystal.cell.array, True, np.zeros(len(crystal), int)
        box = enclosing_cell(*system[:3], model.reach)
        grid, arguments = model.grid_for(box), padded(crystal.positions, box, system[3], np.float64)
        tasks = {
            "features": lambda: features_of(model.descriptor, [system]),
            "derivatives": lambda: jax.block_until_ready(energy_and_derivatives(model, *arguments, grid)),
        }
        for name, task in tasks.items():
            start = time.process_time()
            task()
            found[f"{name}_compile"] = time.process_time() - start
            seconds = []
            for _ in range(5):
                start = time.process_time()
                task()
                seconds.append(time.process_time() - start)
            found[f"{name}_s"] = float(np.median(seconds))
            found[f"{name}_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found | {"grid": grid, "n_features": model.descriptor.n_features}


def measure_grid(settings: dict) -> dict:
    from jax_models.descriptors.scattering import Scattering
    from jax_models.whole_cell import features_of

    scattering = Scattering(("Si",), **settings)
    generator = np.random.default_rng(0)
    structures = []
    for number in range(10):
        crystal = silicon(8)
        crystal.set_cell(crystal.cell.array @ (np.eye(3) + generator.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
        crystal.rattle(0.02 * number, seed=number)
        structures.append(crystal)
    species = np.zeros(8, int)
    spread = features_of(scattering, [(s.positions, s.cell.array, True, species) for s in structures]).std(axis=0)
    one = structures[6]
    places = [(one.positions + move, one.cell.array, True, species) for move in generator.uniform(0, 5, (16, 3))]
    values = features_of(scattering, places)
    varying = spread > 1e-6 * spread.max()
    error = values[:, varying].std(axis=0) / spread[varying]
    weights = generator.normal(size=(200, varying.sum())) / spread[varying]
    total = (values[:, varying] @ weights.T).std(axis=0) / np.linalg.norm(weights * spread[varying], axis=1)
    return {
        "spacing": scattering.spacing,
        "median": np.median(error),
        "largest": error.max(),
        "energy": np.median(total),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, nargs="*", default=[64, 216, 1000])
    parser.add_argument("--tolerances", type=float, nargs="*", default=[0.1, 0.03, 0.01])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = {key: json.loads(value) for key, value in (item.split("=", 1) for item in options.set)}
    if options.one:
        print(json.dumps(measure_cost(options.one, settings)))
        return
    print("atoms grid          features   compile   memory   forces+stress   compile   memory")
    for atoms in options.atoms:
        command = [sys.executable, __file__, "--one", str(atoms), *(["--set", *options.set] if options.set else [])]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True)
        if done.returncode:
            print(
                f"{atoms:5d} failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
            )
            continue
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{r['atoms']:5d} {'x'.join(map(str, r['grid'])):12s} {r['features_s']:7.3f} s "
            f"{r['features_compile']:7.1f} s "
            f"{r['features_mb']:6.0f} MB {r['derivatives_s']:11.3f} s {r['derivatives_compile']:9.1f} s "
            f"{r['derivatives_mb']:6.0f} MB"
            f"   ({r['n_features']} features)",
            flush=True,
        )
    print("\ntolerance spacing    feature: median   largest   energy of a random model")
    for tolerance in options.tolerances:
        r = measure_grid({**settings, "tolerance": tolerance})
        print(
            f"{tolerance:9g} {r['spacing']:6.3f} Å {r['median']:18.1e} {r['largest']:9.1e} {r['energy']:12.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
