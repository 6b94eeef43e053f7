"""Test errors on mlearn of potentials trained with default settings, beside SNAP, qSNAP, GAP and MTP.

    python benchmarks/accuracy.py [Si Mo Cu Li] [--data ../shared/data] [--out FOLDER] [--json FILE]

Each potential is trained by `jaxff train` and evaluated by `jaxff evaluate`, as a user would.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def jaxff(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "jaxff.cli.app", *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("elements", nargs="*", default=["Si", "Mo", "Cu", "Li"])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, help="keeps the potentials")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="jaxff-accuracy-"))
    folder.mkdir(parents=True, exist_ok=True)
    reference = json.loads((options.data / "reference.json").read_text())["mlearn_test_errors"]
    results = {}
    for element in options.elements:
        potential, found = folder / f"{element}.jaxff", folder / f"{element}.json"
        started = time.perf_counter()
        jaxff("train", options.data / f"mlearn/{element}_train.xyz.xz", "--out", potential, "--seed", options.seed)
        seconds = time.perf_counter() - started
        jaxff("evaluate", potential, options.data / f"mlearn/{element}_test.xyz.xz", "--json", found)
        results[element] = json.loads(found.read_text()) | {"training_seconds": seconds}
    report(results, reference)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def report(results: dict, reference: dict) -> None:
    """Energy (meV/atom) and force (eV/Å per component) errors, a line for each potential of each element."""
    print(f"\n{'':4}{'':8}{'E RMSE':>9}{'F RMSE':>9}{'E MAE':>9}{'F MAE':>9}{'train s':>9}")
    for element, r in results.items():
        rows = {"jaxff": [r["energy_rmse_mev_per_atom"], r["force_rmse_ev_per_angstrom"]]}
        maes = {"jaxff": [r["energy_mae_mev_per_atom"], r["force_mae_ev_per_angstrom"]]}
        for kind, table in (("rmse", rows), ("mae", maes)):
            table.update({name: values[element] for name, values in reference[kind].items() if element in values})
        for name in maes:
            rmse = "".join(f"{v:9.{d}f}" for v, d in zip(rows[name], (2, 4), strict=True)) if name in rows else " " * 18
            mae = "".join(f"{v:9.{d}f}" for v, d in zip(maes[name], (2, 4), strict=True))
            seconds = f"{r['training_seconds']:9.0f}" if name == "jaxff" else ""
            print(f"{element:4}{name:8}{rmse}{mae}{seconds}")
        best = [min(reference["rmse"][name][element][n] for name in ("SNAP", "qSNAP")) for n in (0, 1)]
        verdict = all(mine < theirs for mine, theirs in zip(rows["jaxff"], best, strict=True))
        print(f"{element:4}RMSE below both SNAP and qSNAP in energy and force: {'yes' if verdict else 'NO'}")


if __name__ == "__main__":
    main()
