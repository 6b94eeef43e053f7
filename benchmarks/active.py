"""An unattended `jaxff active`: from 20 cold crystals to the liquid, the amorphous solid, a surface and a vacancy.

    python benchmarks/active.py --out /tmp/active [--page docs/active_results.md]               # silicon
    python benchmarks/active.py --out /tmp/active --system SiC [--page docs/active_results_SiC.md]
    python benchmarks/active.py --out /tmp/active --part sampling                               # one part alone

The labeller is an empirical potential, so that the answers are known: the properties of the potential that the loop
ends with are compared with the labeller's own, against limits that are stated here, before any run (`Limits`). Then the
labels that the loop used are compared with as many, and twice as many, from random structures and from plain
dynamics: its force error must be lower than that of twice as many. Parts are loop, properties and sampling, in this
order. Resumable: what is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms, units
from ase.build import bulk, surface
from ase.data import covalent_radii
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS

from jaxff.active.folder import write_frames, write_record

TOO_CLOSE = 0.6
"""Of the sum of two covalent radii: a snapshot with closer atoms is unphysical."""
PARTS = ("loop", "properties", "sampling")


@dataclass(frozen=True)
class Limits:
    """Stated before the run: how far from the labeller the potential may be."""

    rdf: float
    """Mean absolute difference of two radial distribution functions up to 6 Å, where the first peak is about 2.5."""
    vacancy: float
    """eV"""
    surface: float
    """J/m^2"""
    unnoticed: int = 0
    """Snapshots that are unphysical and in which no large error is expected."""


@dataclass(frozen=True)
class System:
    """What is asked of one material: its crystal, its labeller, its temperatures (K), the expected error to reach
    (eV/Å), and the limits."""

    crystal: Callable[[], Atoms]
    labeller: dict[str, Any]
    hot: float
    liquid: float
    pair: tuple[str, str]
    goal: float
    limits: Limits


SYSTEMS = {
    "Si": System(
        lambda: bulk("Si", cubic=True),
        {"pair_style": "sw", "pair_coeff": "* * Si.sw Si", "elements": ["Si"]},
        4000.0,
        2500.0,
        ("Si", "Si"),
        0.4,
        Limits(rdf=0.10, vacancy=0.15, surface=0.10),
    ),
    "SiC": System(
        lambda: bulk("SiC", "zincblende", a=4.32, cubic=True),
        {"pair_style": "tersoff", "pair_coeff": "* * SiC_Erhart-Albe.tersoff Si C", "elements": ["Si", "C"]},
        7000.0,
        4500.0,
        ("Si", "C"),
        # Bonds are twice as strong: forces, and energies of what is broken, are twice as large.
        0.8,
        Limits(rdf=0.10, vacancy=0.30, surface=0.20),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--system", choices=sorted(SYSTEMS), default="Si")
    parser.add_argument("--visits", type=float, default=1e7, help="neighbours seen in each training")
    parser.add_argument("--part", choices=PARTS, help="this alone; all of them where none is named")
    parser.add_argument("--page", type=Path, help="Markdown to write the results to")
    given = parser.parse_args()
    folder = given.out / given.system
    folder.mkdir(parents=True, exist_ok=True)
    system = SYSTEMS[given.system]
    started = time.time()
    parts = (given.part,) if given.part else PARTS
    if "loop" in parts:
        loop(folder, system, given.visits)
    if not (folder / "run" / "model.jaxff").exists():
        sys.exit(f"the loop in {folder} has not ended; run --part loop, or all parts")
    results = {"rounds": [json.loads(line) for line in (folder / "run" / "rounds.jsonl").read_text().splitlines()]}
    if "properties" in parts:
        results["properties"] = properties(folder, system)
    if "sampling" in parts:
        results["sampling"] = sampling(folder, system, given.visits)
    text = page(given.system, system, results)
    print(text, f"\n{time.time() - started:.0f} s in this call")
    if given.page:
        given.page.write_text(text)


def kept(path: Path, compute: Callable[[], Any]) -> Any:
    if not path.exists():
        write_record(path, compute())
    return json.loads(path.read_text())


def labeller(system: System) -> Any:
    from jaxff.knowledge.teachers import parse_teacher

    return parse_teacher({"name": "labeller", **system.labeller}).calculator()


def jaxff(*words: Any) -> int:
    return subprocess.run([sys.executable, "-m", "jaxff.cli.app", *map(str, words)]).returncode


def loop(folder: Path, system: System, visits: float) -> None:
    """Twenty cold crystals, and the run."""
    cold = folder / "cold.xyz"
    if not cold.exists():
        start = system.crystal() * 2
        write_frames(folder / "crystal.xyz", [system.crystal()])
        write_frames(cold, dynamics(start, labeller(system), 100.0, 20, 20, seed=1))
    run = {
        "out": "run",
        "data": ["cold.xyz"],
        "structures": ["crystal.xyz"],
        "labeller": system.labeller,
        "explore": [
            {
                "name": "liquid",
                "atoms": 64,
                "temperature": [300, system.hot, system.liquid],
                "steps": 4000,
                "replicas": 2,
            },
            {"name": "quench", "atoms": 64, "temperature": [system.hot, system.hot, 300], "steps": 5000},
            {"name": "surface", "atoms": 64, "surface": [1, 0, 0], "temperature": [300, 900], "steps": 1500},
            {"name": "vacancy", "atoms": 64, "vacancies": 1, "temperature": [300, 1200], "steps": 1500},
        ],
        "goal": {"error": system.goal, "quantile": 0.9, "rounds": 12, "patience": 6},
        "select": {"per_round": 12},
        "train": {"training.neighbor_visits": visits},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    if not (folder / "run" / "model.jaxff").exists():
        status = jaxff("active", folder / "run.yaml")
        (folder / "status").write_text(str(status))


def dynamics(start: Atoms, calculator: Any, temperature: float, number: int, apart: int, seed: int) -> list[Atoms]:
    """``number`` labelled snapshots, ``apart`` steps of 2 fs from each other."""
    atoms, generator = start.copy(), np.random.default_rng(seed)
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=generator)
    run = Langevin(atoms, 2 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=generator, fixcm=False)
    found = []
    for _ in range(number):
        run.run(apart)
        found.append(labelled(atoms, calculator))
    return found


def labelled(atoms: Atoms, calculator: Any) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.calc = calculator
    energy, forces = copy.get_potential_energy(), copy.get_forces()
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
    return copy


def properties(folder: Path, system: System) -> dict[str, Any]:
    """Of the potential and of the labeller, computed alike."""
    from jaxff import JaxffCalculator

    return {
        "labeller": kept(folder / "properties-labeller.json", lambda: properties_by(labeller(system), system)),
        "jaxff": kept(
            folder / "properties-jaxff.json",
            lambda: properties_by(JaxffCalculator(folder / "run" / "model.jaxff"), system),
        ),
    }


def properties_by(calculator: Any, system: System) -> dict[str, Any]:
    melt = dynamics(system.crystal() * 2, calculator, system.hot, 1, 2000, seed=2)[0]
    liquid = dynamics(melt, calculator, system.liquid, 60, 50, seed=3)
    glass = quenched(melt, calculator, system)
    return {
        "liquid": rdf(liquid, system.pair),
        "amorphous": rdf(glass, system.pair),
        "vacancy": vacancy_energy(system, calculator),
        "surface": surface_energy(system, calculator),
        "unnoticed": unnoticed([melt, *liquid, *glass], calculator, system),
    }


def unnoticed(frames: list[Atoms], calculator: Any, system: System) -> int:
    """Unphysical snapshots in which no force is expected to be off by more than where the loop stops a run."""
    from jaxff.active.loop import FAR

    found = 0
    for atoms in frames:
        radii = (TOO_CLOSE * covalent_radii[atoms.numbers]).tolist()
        if len(neighbor_list("i", atoms, radii)) and "forces_expected_error" in calculator.implemented_properties:
            found += calculator.get_property("forces_expected_error", atoms).max() < FAR * system.goal
    return int(found)


def quenched(melt: Atoms, calculator: Any, system: System) -> list[Atoms]:
    """From the liquid to 300 K in 10 ps, then 3 ps of snapshots."""
    atoms = melt
    for temperature in np.linspace(system.liquid, 300.0, 10):
        atoms = dynamics(atoms, calculator, float(temperature), 1, 500, seed=4)[0]
    return dynamics(atoms, calculator, 300.0, 30, 50, seed=5)


def rdf(frames: list[Atoms], pair: tuple[str, str]) -> list[float]:
    """g(r) of one pair of elements up to 6 Å."""
    from jaxff.properties.radial_distribution import radial_distributions

    found = radial_distributions(frames)
    return (found["-".join(pair)] if "-".join(pair) in found else found["-".join(reversed(pair))]).tolist()


def relaxed_energy(atoms: Atoms, calculator: Any) -> float:
    atoms = atoms.copy()
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=200)
    return atoms.get_potential_energy()


def vacancy_energy(system: System, calculator: Any) -> float:
    """eV; the atom goes to where it costs as much as in the crystal (of a compound: the mean of its elements)."""
    crystal = system.crystal() * 2
    perfect = relaxed_energy(crystal, calculator)
    energies = []
    for symbol in sorted(set(crystal.get_chemical_symbols())):
        defect = crystal.copy()
        del defect[crystal.get_chemical_symbols().index(symbol)]
        energies.append(relaxed_energy(defect, calculator) - perfect)
    return float(np.mean(energies) + perfect / len(crystal))


def surface_energy(system: System, calculator: Any) -> float:
    """J/m^2 of (100), relaxed from a rattled start."""
    slab = surface(system.crystal(), (1, 0, 0), 3, vacuum=8.0) * (2, 2, 1)
    slab.pbc = True
    slab.rattle(0.05, seed=6)
    crystal = system.crystal()
    each = relaxed_energy(crystal, calculator) / len(crystal)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    return float((relaxed_energy(slab, calculator) - len(slab) * each) / (2 * area) / (units.J / units.m**2))


def sampling(folder: Path, system: System, visits: float) -> dict[str, Any]:
    """Force errors on states that nobody trained on, by how the labels were chosen."""
    from jaxff.knowledge.structure_families import Recipe, make_structures

    calculator = labeller(system)
    rounds = [json.loads(line) for line in (folder / "run" / "rounds.jsonl").read_text().splitlines()]
    used = rounds[-1]["structures"] - rounds[0]["structures"]
    cold = read(folder / "cold.xyz", ":")
    test_structures(folder, system, calculator)

    def chosen_at_random(number: int) -> list[Atoms]:
        families = ["strain", "rattle", "vacancy", "surface", "prototype"]
        made = make_structures([system.crystal()], families, -(-number // len(families)), 7, Recipe(atoms=64))
        # All families alike, also where the number is no multiple of theirs.
        by_family = np.random.default_rng(8).permutation(len(families) * -(-number // len(families)))[:number]
        structures = list(made)
        return [labelled(structures[index], calculator) for index in sorted(by_family)]

    def of_plain_dynamics(number: int) -> list[Atoms]:
        each = -(-number // 4)
        runs = [dynamics(s, calculator, t, each, 25, seed=40 + n) for n, (s, t) in enumerate(plain_starts(system))]
        return [frames[index] for index in range(each) for frames in runs][:number]

    def error_of(name: str, draw: Callable[[int], list[Atoms]], number: int) -> float:
        return kept(
            folder / f"sampling-{name}.json", lambda: trained(folder, name, lambda: cold + draw(number), visits)
        )

    model = folder / "run" / "model.jaxff"
    found = {"labels": used, "active": kept(folder / "sampling-active.json", lambda: force_error(model, folder))}
    for times in (1, 2):
        found[f"random x{times}"] = error_of(f"random-{times}", chosen_at_random, times * used)
        found[f"dynamics x{times}"] = error_of(f"dynamics-{times}", of_plain_dynamics, times * used)
    return found


def test_structures(folder: Path, system: System, calculator: Any) -> None:
    """``test.xyz``: liquid, undercooled liquid, surface and vacancy, from dynamics of the labeller."""
    if (folder / "test.xyz").exists():
        return
    melt = dynamics(system.crystal() * 2, calculator, system.hot, 1, 2000, seed=11)[0]
    slab = surface(system.crystal(), (1, 0, 0), 3, vacuum=8.0) * (2, 2, 1)
    slab.pbc = True
    hole = system.crystal() * 2
    del hole[0]
    starts = [(melt, system.liquid), (melt, 0.6 * system.liquid), (slab, 600.0), (hole, 800.0)]
    tests = [f for n, (s, t) in enumerate(starts) for f in dynamics(s, calculator, t, 15, 40, seed=20 + n)]
    write_frames(folder / "test.xyz", tests)


def plain_starts(system: System) -> list[tuple[Atoms, float]]:
    """Where a user's own dynamics would begin: the same four states, from their ideal structures."""
    slab = surface(system.crystal(), (1, 0, 0), 3, vacuum=8.0) * (2, 2, 1)
    slab.pbc = True
    hole = system.crystal() * 2
    del hole[5]
    return [(system.crystal() * 2, system.hot), (system.crystal() * 2, 0.5 * system.hot), (slab, 900.0), (hole, 1200.0)]


def trained(folder: Path, name: str, frames: Callable[[], list[Atoms]], visits: float) -> float:
    out = folder / f"{name}.jaxff"
    if not out.exists():
        if not (folder / f"{name}.xyz").exists():
            write_frames(folder / f"{name}.xyz", frames())
        jaxff("train", folder / f"{name}.xyz", "--out", out, "--set", f"training.neighbor_visits={visits}")
    return force_error(out, folder)


def force_error(potential: Path, folder: Path) -> float:
    """Root mean square per component, eV/Å, on ``test.xyz``."""
    from jaxff import JaxffCalculator

    calculator, errors = JaxffCalculator(potential), []
    for atoms in read(folder / "test.xyz", ":"):
        copy = atoms.copy()
        copy.calc = calculator
        errors.append((copy.get_forces() - atoms.get_forces()).ravel())
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def page(name: str, system: System, results: dict[str, Any]) -> str:
    table = [
        "| round | structures | new labels | runs stopped | expected error, eV/Å | found on new labels, eV/Å |",
        "|---|---|---|---|---|---|",
    ]
    for record in results["rounds"]:
        stopped = sum(bool(run["stopped"]) for run in record["runs"])
        found = record["new_force_rmse"]
        table.append(
            f"| {record['round']} | {record['structures']} | {record['labels']} | {stopped} | "
            f"{record['error_quantile']:.3f} | {'' if found is None else f'{found:.3f}'} |"
        )
    return "\n".join([
        f"# {name}: an unattended loop", "",
        f"`python benchmarks/active.py --system {name}` wrote this page. The limits stood in it before the run.", "",
        *(properties_table(results["properties"], system.limits) if "properties" in results else []),
        *table, "",
        *(sampling_table(results["sampling"]) if "sampling" in results else []),
    ])  # fmt: skip


def properties_table(found: dict[str, Any], limits: Limits) -> list[str]:
    ours, theirs = found["jaxff"], found["labeller"]
    rows = ["| quantity | jaxff | labeller | off by | limit | met |", "|---|---|---|---|---|---|"]
    for quantity in ("liquid", "amorphous"):
        off = float(np.mean(np.abs(np.subtract(ours[quantity], theirs[quantity]))))
        rows.append(f"| g(r), {quantity} | | | {off:.3f} | {limits.rdf} | {met(off <= limits.rdf)} |")
    for quantity, limit, unit in (("vacancy", limits.vacancy, "eV"), ("surface", limits.surface, "J/m²")):
        off = abs(ours[quantity] - theirs[quantity])
        values = f"{ours[quantity]:.3f} {unit} | {theirs[quantity]:.3f} {unit}"
        rows.append(f"| {quantity} energy | {values} | {off:.3f} | {limit} | {met(off <= limit)} |")
    wrong = ours["unnoticed"]
    rows.append(
        f"| unphysical, unnoticed | {wrong} | | {wrong} | {limits.unnoticed} | {met(wrong <= limits.unnoticed)} |"
    )
    return [*rows, ""]


def sampling_table(found: dict[str, Any]) -> list[str]:
    better = all(found["active"] < found[f"{how} x2"] for how in ("random", "dynamics"))
    return [
        f"Beside other ways to choose structures, {found['labels']} labels (x1) and twice as many (x2) beside the "
        "20 crystals: force error on liquid, undercooled liquid, surface and vacancy that none saw, eV/Å. Stated "
        f"before: lower than with twice as many labels of either other way; met: {met(better)}.", "",
        "| chosen by | force error |", "|---|---|",
        *(f"| {how} | {error:.3f} |" for how, error in found.items() if how != "labels"), "",
    ]  # fmt: skip


def met(yes: bool) -> str:
    return "yes" if yes else "MISS"


if __name__ == "__main__":
    main()
