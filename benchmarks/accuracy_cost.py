"""Accuracy against cost of local and message-passing models: a plot and a table.

    python benchmarks/accuracy_cost.py --out FOLDER [--sets Si ethanol water] [--models ace soap schnet painn mace]
    [--visits 3e6] [--plot FILE.png]

Each model is trained by `jaxff train` with its default settings on every n-th structure of the training set (mlearn Si,
ethanol, water) and tested by `jaxff evaluate` on every n-th of the test set. All trainings have one budget:
``--visits`` neighbours seen, but at least 20 epochs. The cost is the processor time of a force call in ASE, per atom,
of the set's own structures, in single precision on one core. What FOLDER already holds is not trained again: an
interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_CORE = {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}
SETS = {
    "ethanol": ("molecules/ethanol_train.xyz.xz", "molecules/ethanol_test_MD.xyz.xz", 4, 10, 5.0),
    "Si": ("mlearn/Si_train.xyz.xz", "mlearn/Si_test.xyz.xz", 4, 1, 5.0),
    "water": ("water/water_train.xyz.xz", "water/water_valid.xyz.xz", 16, 8, 4.5),
}
"""Training set, test set, the n of each, and the cutoff in Å."""
MODELS = ("ace", "soap", "schnet", "painn", "mace")


def train_and_test(name: str, model: str, folder: Path, data: Path, visits: float) -> dict:
    *files, cutoff = SETS[name]
    train, test = (thinned(data / files[n], files[n + 2], folder) for n in (0, 1))
    potential, found = folder / f"{name}-{model}.jaxff", folder / f"{name}-{model}.errors.json"
    jaxff = [sys.executable, "-m", "jaxff.cli.app"]
    settings = [f"model.cutoff={cutoff}", f"training.neighbor_visits={visits}"]
    options = [argument for setting in settings for argument in ("--set", setting)]
    environment = os.environ | ONE_CORE
    if not potential.exists():
        command = [*jaxff, "train", train, "--out", potential, "--model", model, *options]
        subprocess.run(command, check=True, env=environment)
    subprocess.run([*jaxff, "evaluate", potential, test, "--json", found], check=True, env=environment)
    errors = json.loads(found.read_text())
    return {
        "energy_rmse_mev_per_atom": errors["energy_rmse_mev_per_atom"],
        "force_rmse_ev_per_angstrom": errors["force_rmse_ev_per_angstrom"],
        "us_per_atom": cost(potential, test),
    }


def thinned(file: Path, n: int, folder: Path) -> Path:
    """Every ``n``-th structure of ``file``, in a file of its own."""
    import ase.io

    kept = folder / f"{file.name.split('.')[0]}-{n}.xyz"
    if not kept.exists():
        ase.io.write(kept, ase.io.read(file, f"::{n}"), format="extxyz")
    return kept


def cost(potential: Path, structures: Path) -> float:
    """Microseconds an atom of a force call; molecules, which a call would outweigh, are put 8 Å apart in one cell."""
    import ase.io

    from jaxff import JaxffCalculator

    atoms = ase.io.read(structures, "0")
    if not atoms.pbc.any():
        atoms.center(vacuum=4.0)
        atoms = atoms.repeat((3, 3, 3))
    atoms.calc = JaxffCalculator(potential)
    times = []
    for _ in range(12):
        atoms.positions[0] += 1e-4
        start = time.process_time()
        atoms.get_forces()
        times.append(time.process_time() - start)
    return 1e6 * min(times) / len(atoms)


def plot(results: dict[str, dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in SETS if any(key.startswith(f"{name}-") for key in results)]
    figure, axes = pyplot.subplots(1, len(names), figsize=(3.6 * len(names), 3.4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for n, model in enumerate(MODELS):
            if found := results.get(f"{name}-{model}"):
                x, y = found["us_per_atom"], found["force_rmse_ev_per_angstrom"]
                axis.plot(x, y, "os^Dv"[n], color=f"C{n}")
                axis.annotate(model, (x, y), xytext=(5, 4), textcoords="offset points")
        axis.set(xscale="log", yscale="log", title=name, xlabel="µs / atom / step")
        axis.margins(0.25)
    axes[0, 0].set_ylabel("force RMSE, eV/Å")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="keeps potentials and results")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--visits", type=float, default=3e6, help="neighbours seen in a training")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    from jaxff.runtime import configure

    configure(threads=1, platforms="cpu")
    kept = options.out / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for name in options.sets:
        for model in options.models:
            key = f"{name}-{model}"
            if key not in results:
                results[key] = train_and_test(name, model, options.out, options.data, options.visits)
                kept.write_text(json.dumps(results, indent=1) + "\n")
            found = results[key]
            errors = (
                f"{found['energy_rmse_mev_per_atom']:.2f} meV/atom | {found['force_rmse_ev_per_angstrom']:.3f} eV/Å"
            )
            print(f"| {name} | {model} | {errors} | {found['us_per_atom']:.0f} µs |", flush=True)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
