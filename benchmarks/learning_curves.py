"""Learning curves and cost: every descriptor from atoms, GMP from atoms, bonds and a grid, on five open data sets.

    python benchmarks/learning_curves.py [--store results.json] [--minutes 60] [--page docs/learning_curves.md]

Every descriptor gets the same epochs (EPOCHS, fewer for more structures), and so does GMP from atoms, bonds and a grid;
settings are the defaults otherwise. Errors are those of the last epoch on test structures that were never trained on;
no epoch is chosen by them. Times are the processor's, of one thread. Results are kept in --store, so that a stopped
benchmark goes on; the page is written from what is there.
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
TESTED = 16
GMP = {"name": "gmp", "sigmas": [0.4, 0.8, 1.2, 1.6], "orders": [0, 1, 2]}
DESCRIPTORS = {
    "ace": {"name": "ace"}, "acsf": {"name": "acsf"}, "chebyshev": {"name": "chebyshev"}, "gmp": GMP,
    "mbtr": {"name": "mbtr"}, "soap": {"name": "soap", "n_max": 6, "l_max": 4},
}  # fmt: skip
EPOCHS = {8: 60, 32: 40, 128: 20}
"""By the number of structures."""
EPOCHS_OF_POINTS = 100
"""Of the comparison of atoms, bonds and a grid."""
DEAREST = "mbtr"
"""Ten times and more dearer than the others: trained on 8 structures only."""


def tasks() -> list[dict]:
    """The most telling first."""
    found = [
        {"set": "Si", "size": 8, "descriptor": "gmp", "points": p, "epochs": EPOCHS_OF_POINTS}
        for p in ("atoms", "bonds", "grid")
    ]
    for size in (32, 8, 128):
        found += [
            {"set": s, "size": size, "descriptor": d, "points": "atoms", "epochs": EPOCHS[size]}
            for s in SETS
            for d in DESCRIPTORS
        ]
    found = [task for task in found if task["descriptor"] != DEAREST or task["size"] == 8]
    return found


def name(task: dict) -> str:
    return f"{task['set']}, {task['size']} structures, {task['descriptor']}, {task['points']}, {task['epochs']} epochs"


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


def run(task: dict) -> dict:
    from jax_models.training.gradient.trainer import train
    from jax_models.training.settings import Settings

    structures, test = load(task["set"], task["size"])
    architecture = {"descriptor": DESCRIPTORS[task["descriptor"]], "reference_points": {"name": task["points"]}}
    started = time.process_time()
    trained = train(structures, architecture, 5.0, Settings(epochs=task["epochs"], patience=1.0), validation=test)
    seconds = time.process_time() - started
    course = [
        {k: r["validation"][k] for k in ("energy_rmse", "force_rmse") if k in r["validation"]} for r in trained.history
    ]
    return {
        **task, "seconds": seconds, "course": course, **course[-1],
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
    for seed in range(6):
        atoms.rattle(1e-3, seed=seed)
        start = time.process_time()
        atoms.get_forces()
        times.append(time.process_time() - start)
    return min(times[1:]) / len(atoms) * 1e6


def converged(found: dict) -> int:
    """Epochs until both errors stay within a tenth of where they end."""
    last = 0
    for key in ("energy_rmse", "force_rmse"):
        course = [epoch[key] for epoch in found["course"] if key in epoch]
        last = max([last] + [n + 1 for n, error in enumerate(course) if error > 1.1 * course[-1]])
    return last + 1


def page(rows: list[dict], path: Path) -> None:
    """The tables and plots of the results, as Markdown."""
    rows = sorted(
        rows, key=lambda r: (list(SETS).index(r["set"]), r["size"], r["descriptor"], r["points"], r["epochs"])
    )
    lines = [
        "# Learning curves and cost",
        "",
        f"`python benchmarks/learning_curves.py --page docs/{path.name}` writes this page. Every descriptor has its "
        "default settings",
        "(gmp and soap have smaller sets, named in the command), a cutoff of 5 Å and the same short training: "
        + ", ".join(f"{e} epochs with {n} structures" for n, e in EPOCHS.items())
        + ";",
        f"the comparison of atoms, bonds and a grid has {EPOCHS_OF_POINTS}.",
        f"Errors are root mean squares after the last epoch, on up to {TESTED} test structures. Times are of one "
        "processor core in single",
        'precision, for energy and forces in ASE and for training, which includes compilation. "Converged" gives the '
        "epoch from which both",
        "errors stay within a tenth of their last values. Longer trainings reach lower errors: "
        "`python benchmarks/accuracy.py`.",
        "",
        *plots(rows, path.parent),
        "",
        "| data | structures | descriptor | seen from | energy, meV/atom | force, eV/Å | µs an atom | "
        "converged at epoch | training, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        force = f"{r['force_rmse']:.3f}" if "force_rmse" in r else "no labels"
        lines.append(
            f"| {r['set']} | {r['size']} | {r['descriptor']} | {r['points']} | {1e3 * r['energy_rmse']:.1f} | "
            f"{force} | "
            f"{r['microseconds']:.1f} | {converged(r)} of {r['epochs']} | {r['seconds']:.0f} |"
        )
    path.write_text("\n".join(lines) + "\n")


def plots(rows: list[dict], folder: Path) -> list[str]:
    """Errors against structures, cost against error, and GMP's convergence from its three kinds of points: lines for
    the page."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    colors = {d: f"C{n}" for n, d in enumerate(DESCRIPTORS)}
    sets = [s for s in SETS if any(r["set"] == s for r in rows)]
    atoms = [r for r in rows if r["epochs"] != EPOCHS_OF_POINTS]
    figure = Figure(figsize=(2.7 * len(sets), 7.4), layout="constrained")
    axes = figure.subplots(3, len(sets), squeeze=False)
    for column, which in zip(axes.T, sets, strict=True):
        for descriptor, color in colors.items():
            own = sorted(
                (r for r in atoms if (r["set"], r["descriptor"]) == (which, descriptor)), key=lambda r: r["size"]
            )
            sizes = [r["size"] for r in own]
            column[0].plot(sizes, [1e3 * r["energy_rmse"] for r in own], "o-", color=color, label=descriptor)
            column[1].plot(sizes, [r["force_rmse"] for r in own], "o-", color=color)
            for r in own:
                if r["size"] == 32:
                    column[2].plot(r["microseconds"], r["force_rmse"], "o", color=color)
        column[0].set(title=which, xscale="log", yscale="log")
        column[1].set(xlabel="training structures", xscale="log", yscale="log")
        column[2].set(xlabel="µs an atom", xscale="log", yscale="log")
        for axis in column:
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.xaxis.set_minor_formatter(NullFormatter())
        for axis in column[:2]:
            axis.set_xticks(list(EPOCHS), list(EPOCHS))
        column[2].xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        column[2].xaxis.set_major_formatter("{x:g}")
    for row, label in zip(axes, ("energy, meV/atom", "force, eV/Å", "force, eV/Å (32 structures)"), strict=True):
        row[0].set_ylabel(label)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(colors))
    figure.savefig(folder / "learning_curves.png", dpi=90)

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for r in rows:
        if r["epochs"] == EPOCHS_OF_POINTS:
            epochs = range(1, r["epochs"] + 1)
            left.plot(epochs, [1e3 * e["energy_rmse"] for e in r["course"]], label=r["points"])
            right.plot(epochs, [e["force_rmse"] for e in r["course"]], label=r["points"])
    left.set(xscale="log", yscale="log", xlabel="epoch", ylabel="energy, meV/atom", title="gmp, 8 structures of Si")
    right.set(xscale="log", yscale="log", xlabel="epoch", ylabel="force, eV/Å")
    right.yaxis.set_minor_formatter("{x:.1f}")
    left.legend()
    figure.savefig(folder / "reference_points.png", dpi=90)
    return [
        "![Errors of every descriptor on five data sets against structures and against time per "
        "atom](learning_curves.png)",
        "",
        "![Convergence of gmp seen from atoms, bonds and a grid](reference_points.png)",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("learning_curves.json"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    configure(threads=1, platforms="cpu")
    results = json.loads(options.store.read_text()) if options.store.exists() else {}
    until = time.monotonic() + 60.0 * options.minutes
    for task in tasks():
        if time.monotonic() > until:
            break
        if name(task) in results:
            continue
        found = results[name(task)] = run(task)
        force = f", {found['force_rmse']:.3f} eV/Å" if "force_rmse" in found else ""
        print(
            f"{name(task)}: {1e3 * found['energy_rmse']:.1f} meV/atom{force}, {found['microseconds']:.1f} "
            f"µs/atom, {found['seconds']:.0f} s",
            flush=True,
        )
        temporary = options.store.with_suffix(".part")
        temporary.write_text(json.dumps(results) + "\n")
        temporary.replace(options.store)
    if options.page:
        page(list(results.values()), options.page)


if __name__ == "__main__":
    main()
