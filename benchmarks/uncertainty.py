"""Do error bars hold where a potential has never been? Trained on cold structures, tested on hot ones and on defects.

    python benchmarks/uncertainty.py --out FOLDER [--sets Si Mo Cu Li-Al water] [--visits 1e7]
    python benchmarks/uncertainty.py --out FOLDER --cost [--repeats 9]

Writes docs/uncertainty_results.md and docs/uncertainty.png. Of the molecular dynamics of each set, the half with the
smaller forces (and the strained crystals, where there are any) is split at random: two thirds train, a sixth is
``--valid``, by which errors are calibrated, and a sixth, ``inside``, is seen by nobody. The half with the larger forces
is ``hot``; defects and surfaces are groups of their own. Four potentials that differ in their seed are trained by
`jaxff train`; the first is the one that is judged, and `jaxff join` makes a committee of the four. ``--cost`` measures
LAMMPS with the potential of silicon. What FOLDER already holds is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from uncertainty_cost import measure_costs
from uncertainty_report import write_report

ROOT = Path(__file__).resolve().parents[1]
ONE_CORE = {
    "NPROC": "1",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
MEMBERS = 4
MLEARN = ("Si", "Mo", "Cu")
SETS = (*MLEARN, "Li-Al", "water")
PART = 6
"""One structure in so many calibrates, another tests inside."""


def parts(name: str, data: Path) -> dict[str, list]:
    """Structures to train on (``train``), to calibrate with (``valid``), and to test, by group."""
    from ase.io import read

    if name in MLEARN:
        frames = [a for part in ("train", "test") for a in read(data / f"mlearn/{name}_{part}.xyz.xz", ":")]
        groups: dict[str, list] = {}
        for atoms in frames:
            groups.setdefault(atoms.info["config_type"], []).append(atoms)
        dynamics, more = groups["AIMD-NVT"], groups["Elastic"]
        others = {"vacancy": groups["Vacancy"], "surface": groups["Surface"]}
    elif name == "Li-Al":
        dynamics, more = read(data / "lial/lial_Train.xyz.xz", "::2"), []
        others = {
            "vacancy": read(data / "lial/lial_Vacancy.xyz.xz", "::3"),
            "bcc-fcc": read(data / "lial/lial_bcc-fcc.xyz.xz", "::6"),
        }
    else:
        dynamics, more, others = read(data / "water/water_train.xyz.xz", "::8"), [], {}
    dynamics = sorted(dynamics, key=lambda atoms: float(np.mean(atoms.get_forces() ** 2)))
    half = len(dynamics) // 2
    cold = dynamics[:half] + more
    order = np.random.default_rng(0).permutation(len(cold))
    n = len(cold) // PART
    valid, inside, train = ([cold[i] for i in chosen] for chosen in (order[:n], order[n : 2 * n], order[2 * n :]))
    return {"train": train, "valid": valid, "inside": inside, "hot": dynamics[half:], **others}


def trained(name: str, files: dict[str, Path], visits: float) -> tuple[Path, Path]:
    """The potential with default settings, and the committee of it and three others."""
    folder = files["train"].parent
    jaxff, environment = [sys.executable, "-m", "jaxff.cli.app"], os.environ | ONE_CORE
    members = [folder / f"{name}-{seed}.jaxff" for seed in range(MEMBERS)]
    for seed, path in enumerate(members):
        command = [*jaxff, "train", files["train"], "--valid", files["valid"], "--out", path, "--seed", str(seed)]
        command += ["--set", f"training.neighbor_visits={visits}"]
        # Of the others nothing but their forces is used.
        command += ["--set", "training.heads=0"] if seed else []
        if not path.exists():
            subprocess.run(command, check=True, env=environment)
    committee = folder / f"{name}-committee.jaxff"
    if not committee.exists():
        subprocess.run([*jaxff, "join", *members, "--out", committee], check=True, env=environment)
    return members[0], committee


def measured(potential: Path, committee: Path, found: dict[str, Path]) -> dict[str, dict[str, np.ndarray]]:
    """Of each atom of each part: error of the force, what the potential says of it, and the committee's spread (eV/Å).

    All structures are padded to one shape, so that each potential is compiled once; ASE gives the same numbers.
    """
    from jax_models import Potential
    from jax_models.training.data.batches import common_shape, prepare
    from jax_models.training.gradient.metrics import fixed_batches
    from jax_models.training.uncertainty.measurement import measured as measure
    from jaxff.io import read_structures

    one, four = Potential.load(potential), Potential.load(committee)
    prepared = {
        part: [prepare(s, one.elements, one.reference_energies, one.cutoff) for s in read_structures(path)]
        for part, path in found.items()
    }
    shape = common_shape([p for structures in prepared.values() for p in structures], 1)
    atoms = {}
    for part, structures in prepared.items():
        batches = fixed_batches(structures, shape)
        said, theirs = (measure(p.model, p.uncertainty, batches) for p in (one, four))
        along = np.column_stack([said.force, np.zeros((len(said.force), 2))])
        expected = one.uncertainty.expected_error(said.reach, along)
        # The grade as the expected error takes it, with the neighbours'.
        atoms[part] = {"error": said.error, "grade": said.reach, "force": said.force, "spread": said.spread}
        atoms[part] |= {"expected": expected, "committee": theirs.spread}
    return atoms


def run(name: str, folder: Path, data: Path, visits: float) -> None:
    """Train and measure one set, and keep what every atom gave."""
    from ase.io import write

    kept = folder / f"{name}.npz"
    if kept.exists():
        return
    found = parts(name, data)
    print(f"{name}: " + ", ".join(f"{len(structures)} {part}" for part, structures in found.items()), flush=True)
    files = {part: folder / f"{name}-{part}.xyz" for part in found}
    for part, path in files.items():
        if not path.exists():
            write(path, found[part], format="extxyz")
    atoms = measured(*trained(name, files, visits), files)
    np.savez(kept, **{f"{part}/{name}": values for part in atoms for name, values in atoms[part].items()})


def read_kept(folder: Path) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """What was measured: by set, part and quantity."""
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name in SETS:
        if (folder / f"{name}.npz").exists():
            found[name] = {}
            for key, values in np.load(folder / f"{name}.npz").items():
                part, quantity = key.split("/")
                found[name].setdefault(part, {})[quantity] = values
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="keeps potentials and results")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--visits", type=float, default=1e7, help="neighbours seen in a training")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page is written")
    parser.add_argument("--cost", action="store_true", help="measure LAMMPS too, with what was trained on silicon")
    parser.add_argument("--repeats", type=int, default=9, help="of each LAMMPS run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    from jaxff.runtime import configure

    os.environ.update(ONE_CORE)
    configure(threads=1, platforms="cpu")
    settings = options.out / "settings.json"
    visits = json.loads(settings.read_text()) if settings.exists() else {}
    for name in ["Si"] if options.cost else options.sets:
        # What was begun is finished with the same number.
        visits.setdefault(name, options.visits)
        settings.write_text(json.dumps(visits) + "\n")
        run(name, options.out, options.data, visits[name])
    costs = options.out / "costs.json"
    if options.cost:
        members = [options.out / f"Si-{name}.jaxff" for name in (0, "committee")]
        costs.write_text(json.dumps(measure_costs(*members, options.repeats), indent=1) + "\n")
    measured_costs = json.loads(costs.read_text()) if costs.exists() else None
    write_report(read_kept(options.out), measured_costs, visits, options.docs)


if __name__ == "__main__":
    main()
