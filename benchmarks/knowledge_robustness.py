"""Outside the training set: do potentials with and without teachers' knowledge stay physical?

    python benchmarks/knowledge_robustness.py --out FOLDER [--element Si] [--labels 20] [--mode forces] [--runs 3]
    [--steps 500]

Molecular dynamics of an mlearn crystal at two and three times the highest temperature of its training data: the
fraction of runs in which no pair comes closer than half of its bond and the temperature stays below five times the
thermostat's. Close encounters: an atom pushed at its neighbour; the fraction of pushes in which the energy never falls
on the way to half of a bond. FOLDER is that of benchmarks/knowledge.py.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
from knowledge import ROOT, Element, train_one


def hottest(path: Path) -> float:
    """K; of the molecular dynamics in a data set, as its descriptions say."""
    from ase.io import read

    found = [re.search(r"at (\d+) ?K", str(atoms.info.get("description", ""))) for atoms in read(path, ":")]
    return max(float(match.group(1)) for match in found if match)


def stays_physical(atoms, calculator, temperature: float, steps: int, seed: int) -> bool:
    """Langevin dynamics, 1 fs a step."""
    from ase import units
    from ase.data import covalent_radii
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    generator = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=generator)
    dynamics = Langevin(atoms, 1 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=generator)
    for _ in range(steps // 25):
        try:
            dynamics.run(25)
        except Exception:  # atoms on top of each other, or an energy that is not finite
            return False
        distances = atoms.get_all_distances(mic=True) + 99 * np.eye(len(atoms))
        if not (distances.min() > covalent_radii[atoms.numbers[0]] and atoms.get_temperature() < 5 * temperature):
            return False
    return True


def repels(atoms, calculator, atom: int) -> bool:
    """Whether pushing an atom at its nearest neighbour costs energy all the way to half of the bond."""
    atoms = atoms.copy()
    atoms.calc = calculator
    distances = atoms.get_distances(atom, range(len(atoms)), mic=True) + 99 * (np.arange(len(atoms)) == atom)
    towards = atoms.get_distance(atom, int(distances.argmin()), mic=True, vector=True)
    start, energies = atoms.positions[atom].copy(), []
    for part in np.linspace(0.1, 0.5, 9):
        atoms.positions[atom] = start + part * towards
        energies.append(atoms.get_potential_energy())
    return bool((np.diff(energies) > 0).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--element", default="Si")
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--mode", default="forces")
    parser.add_argument("--model", default="ace")
    parser.add_argument("--strategies", nargs="*", default=["baseline", "weak", "transfer", "both"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--visits", type=float, default=5e6)
    options = parser.parse_args()
    from ase.build import bulk

    from jaxff import JaxffCalculator
    from jaxff.runtime import configure

    configure()
    element = Element(options.element, options.data, options.out)
    temperature = hottest(options.data / f"mlearn/{options.element}_train.xyz.xz")
    crystal = bulk(options.element, cubic=True)
    crystal *= 2 if len(crystal) == 8 else 3
    results = options.out / "robustness.jsonl"
    done = [json.loads(line)["key"] for line in results.read_text().splitlines()] if results.exists() else []
    for strategy in options.strategies:
        key = [options.element, options.model, options.mode, options.labels, strategy]
        if key in done:
            continue
        dynamics, pushes = {2: [], 3: []}, []
        for seed in range(options.runs):
            potential = train_one(element, options.model, options.mode, options.labels, strategy, seed, options.visits)
            calculator = JaxffCalculator(potential)
            for factor, outcomes in dynamics.items():
                outcomes.append(stays_physical(crystal, calculator, factor * temperature, options.steps, seed))
            rattled = crystal.copy()
            rattled.rattle(0.1, seed=seed)
            pushes += [repels(rattled, calculator, atom) for atom in range(0, len(rattled), 4)]
        found = {
            "key": key,
            "runs": options.runs,
            "temperature": temperature,
            **{f"physical_at_{factor}x": float(np.mean(outcomes)) for factor, outcomes in dynamics.items()},
            "repulsive": float(np.mean(pushes)),
        }
        print(json.dumps(found), flush=True)
        with results.open("a") as file:
            print(json.dumps(found), file=file)


if __name__ == "__main__":
    main()
