"""Learning curves and cost: every descriptor from atoms, GMP from atoms, bonds and a grid, on five open data sets.

    python benchmarks/learning_curves.py [--store results.json] [--minutes 60] [--page docs/learning_curves.md] [--work 60000]

Each training is short: as many epochs as make --work atoms seen (fewer for bonds and grid, which see more), with the default
settings otherwise. Errors are those of the last epoch on test structures that were never trained on; no epoch is chosen by
them. Results are kept in --store, so that a stopped benchmark goes on; the page is written from what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from jaxff.runtime import configure

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = {
    "Si": ("mlearn/Si_train.xyz.xz", "mlearn/Si_test.xyz.xz"),
    "Mo": ("mlearn/Mo_train.xyz.xz", "mlearn/Mo_test.xyz.xz"),
    "Cu": ("mlearn/Cu_train.xyz.xz", "mlearn/Cu_test.xyz.xz"),
    "TiO2": ("tio2/tio2_1000.xyz.xz", None),
    "Li-Al": ("lial/lial_Train.xyz.xz", "lial/lial_Validation.xyz.xz"),
}
TESTED = 24
GMP = {"name": "gmp", "sigmas": [0.4, 0.8, 1.2, 1.6], "orders": [0, 1, 2]}
DESCRIPTORS = {
    "ace": {"name": "ace"}, "acsf": {"name": "acsf"}, "chebyshev": {"name": "chebyshev"}, "gmp": GMP,
    "mbtr": {"name": "mbtr"}, "soap": {"name": "soap", "n_max": 6, "l_max": 4},
}  # fmt: skip
SHARE = {"atoms": 1.0, "bonds": 0.3, "grid": 0.1}
"""Of the work: what a point costs more, it gets fewer epochs; the plot shows whether they were enough."""


def tasks() -> list[dict]:
    """The most telling first."""
    found = [{"set": "Si", "size": 32, "descriptor": d, "points": "atoms"} for d in ("ace", "gmp")]
    found += [{"set": "Si", "size": 8, "descriptor": "gmp", "points": p} for p in ("atoms", "bonds", "grid")]
    found += [{"set": s, "size": 32, "descriptor": "ace", "points": "atoms"} for s in SETS]
    found += [{"set": "Si", "size": 32, "descriptor": d, "points": "atoms"} for d in DESCRIPTORS]
    found += [{"set": s, "size": n, "descriptor": "ace", "points": "atoms"} for n in (8, 128) for s in SETS]
    found += [{"set": s, "size": 32, "descriptor": d, "points": "atoms"} for s in SETS for d in DESCRIPTORS]
    found += [{"set": s, "size": n, "descriptor": d, "points": "atoms"} for n in (8, 128) for s in SETS for d in DESCRIPTORS]
    return list({name(task): task for task in found}.values())


def name(task: dict) -> str:
    return f"{task['set']}, {task['size']} structures, {task['descriptor']}, {task['points']}"


def load(which: str, size: int):
    """``size`` training structures spread over the file, and the test structures."""
    from jaxff.io import read_structures

    train_file, test_file = SETS[which]
    data = [s for s in read_structures(DATA / train_file) if not s.isolated]
    test = read_structures(DATA / test_file) if test_file else data[3::20]
    data = data if test_file else [s for n, s in enumerate(data) if n % 20 != 3]

    def spread(structures, n):
        return [structures[i] for i in np.unique(np.linspace(0, len(structures) - 1, n).astype(int))]

    train = spread(data, size)
    known = {symbol for s in train for symbol in s.symbols}
    return train, [s for s in spread([t for t in test if not t.isolated], TESTED) if set(s.symbols) <= known]


def run(task: dict, work: float) -> dict:
    from jax_models.training.settings import Settings
    from jax_models.training.trainer import train

    structures, test = load(task["set"], task["size"])
    architecture = {"descriptor": DESCRIPTORS[task["descriptor"]], "reference_points": {"name": task["points"]}}
    epochs = int(np.clip(SHARE[task["points"]] * work / sum(map(len, structures)), 10, 400))
    started = time.perf_counter()
    trained = train(structures, architecture, 5.0, Settings(epochs=epochs, patience=1.0), validation=test)
    seconds = time.perf_counter() - started
    course = [{k: r["validation"][k] for k in ("energy_rmse", "force_rmse") if k in r["validation"]} for r in trained.history]
    return {
        **task, "epochs": epochs, "seconds": seconds, "course": course, **course[-1],
        "microseconds": microseconds(trained.potential, structures[0]),
    }  # fmt: skip


def microseconds(potential, structure) -> float:
    """Energy and forces of some 200 atoms in ASE, single precision, the neighbour list kept: µs an atom."""
    from ase import Atoms

    from jaxff import JaxffCalculator

    atoms = Atoms(structure.symbols, structure.positions, cell=structure.cell, pbc=structure.periodic)
    atoms = atoms * (max(1, 200 // len(atoms)), 1, 1)
    atoms.calc = JaxffCalculator(potential, device="cpu")
    times = []
    for seed in range(4):
        atoms.rattle(1e-3, seed=seed)
        start = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - start)
    return min(times[1:]) / len(atoms) * 1e6


def page(results: dict, path: Path, work: float) -> None:
    rows = [r for r in results.values()]
    lines = [
        "# Learning curves and cost",
        "",
        f"Written by `python benchmarks/learning_curves.py --page {path.name}`. Short trainings, {work:.0f} atoms seen in each",
        f"({SHARE['bonds']:g} of it from bonds, {SHARE['grid']:g} from a grid), default settings, cutoff 5 Å; errors of the last epoch on up to",
        f"{TESTED} test structures that were not trained on; time of energy and forces in ASE in single precision on a shared machine.",
        "Longer trainings reach lower errors: `python benchmarks/accuracy.py`.",
        "",
        "| data | structures | descriptor | seen from | epochs | energy RMSE, meV/atom | force RMSE, eV/Å | µs an atom | training, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(rows, key=lambda r: (list(SETS).index(r["set"]), r["size"], r["descriptor"], r["points"])):
        force = f"{r['force_rmse']:.3f}" if "force_rmse" in r else "no labels"
        lines.append(
            f"| {r['set']} | {r['size']} | {r['descriptor']} | {r['points']} | {r['epochs']} | {1e3 * r['energy_rmse']:.1f} | {force} | "
            f"{r['microseconds']:.1f} | {r['seconds']:.0f} |"
        )
    lines += ["", *plots(rows, path.parent)]
    path.write_text("\n".join(lines) + "\n")


def plots(rows: list[dict], folder: Path) -> list[str]:
    """Error against structures, and against epochs for GMP's three kinds of points: lines for the page."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for which in SETS:
        points = sorted((r["size"], 1e3 * r["energy_rmse"]) for r in rows if (r["set"], r["descriptor"], r["points"]) == (which, "ace", "atoms"))
        if points:
            left.plot(*zip(*points, strict=True), "o-", label=which)
    left.set(xscale="log", yscale="log", xlabel="training structures", ylabel="energy RMSE, meV/atom", title="ace from atoms")
    left.legend(fontsize="small")
    for r in rows:
        if (r["set"], r["descriptor"], r["size"]) == ("Si", "gmp", 8):
            right.plot(range(1, r["epochs"] + 1), [e["force_rmse"] for e in r["course"]], label=r["points"])
    right.set(xscale="log", yscale="log", xlabel="epoch", ylabel="force RMSE, eV/Å", title="gmp, 8 structures of Si")
    right.legend(fontsize="small")
    figure.savefig(folder / "learning_curves.png", dpi=100)
    return ["![Learning curves of ace on five data sets; convergence of gmp from atoms, bonds and a grid](learning_curves.png)"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("learning_curves.json"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--work", type=float, default=60000.0)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    configure()
    results = json.loads(options.store.read_text()) if options.store.exists() else {}
    until = time.monotonic() + 60.0 * options.minutes
    for task in tasks():
        if time.monotonic() > until:
            break
        if name(task) in results:
            continue
        found = results[name(task)] = run(task, options.work)
        force = f", {found['force_rmse']:.3f} eV/Å" if "force_rmse" in found else ""
        print(f"{name(task)}: {1e3 * found['energy_rmse']:.1f} meV/atom{force}, {found['microseconds']:.1f} µs/atom, {found['seconds']:.0f} s", flush=True)
        temporary = options.store.with_suffix(".part")
        temporary.write_text(json.dumps(results) + "\n")
        temporary.replace(options.store)
    if options.page:
        page(results, options.page, options.work)


if __name__ == "__main__":
    main()
