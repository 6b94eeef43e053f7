"""Properties that were never in the training set, from energies alone: elastic constants, vacancies, other phases.

    python benchmarks/extrapolation.py Si Mo Cu Li [--model chebyshev] [--lial] [--json FILE] [--data ../shared/data]

For each element a linear model is fitted to the energies of mlearn's training structures, less the groups Elastic and
Vacancy: with all features (ridge), with selected ones (greedy orthogonal least squares), and as an ensemble of
selections. Then the elastic constants are computed from second derivatives, and a vacancy and its hop. --lial does the
same for Li-Al alloys and measures the energies of the files Vacancy and bcc-fcc. Tables are printed as Markdown; with --json
each result is kept, and found again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from ase.build import bulk

from jax_models import Potential
from jax_models.errors import JaxffError
from jax_models.training.batches import prepare
from jax_models.training.equations import equations
from jax_models.training.least_squares import cross_validated, folds_of
from jax_models.training.problem import Problem, pose
from jax_models.training.select_features import ensemble
from jax_models.training.selection import select
from jax_models.training.settings import Settings
from jaxff import JaxffCalculator
from jaxff.io import read_structures
from jaxff.properties.elastic import elastic_constants
from jaxff.properties.vacancy import vacancy
from jaxff.runtime import configure

ROOT = Path(__file__).resolve().parents[1]
LATTICE = {"Si": ("diamond", 5.47, 2), "Mo": ("bcc", 3.17, 4), "Cu": ("fcc", 3.63, 3), "Li": ("bcc", 3.44, 4)}
"""Crystal, Å to start the relaxation from, and the vacancy's cell in conventional ones, as in reference.json."""
UNSEEN = ("Elastic", "Vacancy")
SEED = 0


class Fits:
    """The three models, as parameters of one linear problem."""

    def __init__(self, structures: list, architecture: dict, cutoff: float, most: int, members: int):
        self.problem: Problem = pose(structures, architecture, cutoff, Settings(force_weight=0, stress_weight=0, energy_weight=1))
        # One equation a structure, weighted by 1/sqrt(n): squares add up to the mean squared error per atom.
        parts = list(self.problem.rows())
        groups = [s.group for s in self.problem.structures]
        kept = self.problem.bias_indices
        folds = folds_of(groups, 8, SEED)
        everything = cross_validated([np.concatenate([p for p, f in zip(parts, folds, strict=True) if f == k]) for k in range(8)])
        selected = select(parts, groups, kept, most=most, seed=SEED)
        drawn = ensemble(parts, groups, kept, members, most=most, seed=SEED)
        self.members = [m.parameters for m in drawn]
        self.models = {"all": everything.parameters, "selected": selected.parameters, "ensemble": np.mean(self.members, axis=0)}
        ridge = min(record["validation_loss"] for record in everything.path) ** 0.5
        chosen = next(r["error"] for r in selected.path if r["features"] == selected.size)
        self.facts = {
            "n_train": len(parts),
            "features": self.problem.n_parameters - len(kept),
            "selected": selected.size - len(kept),
            "in_members": [m.size - len(kept) for m in drawn],
            "validation_mev": {"all": 1e3 * ridge, "selected": 1e3 * chosen},
        }

    def potential(self, parameters: np.ndarray) -> Potential:
        from jax_models.training.equations import with_parameters

        p = self.problem
        return Potential(p.contract, with_parameters(p.model, parameters), p.architecture, p.references)

    def energy_errors(self, structures: list) -> dict[str, float]:
        """Root-mean-square error in meV/atom of each model, and the mean spread of the ensemble's members."""
        p = self.problem
        prepared = [prepare(s, p.contract.elements, p.references, p.contract.cutoff, np.float64) for s in structures]
        rows = [(e.matrix[0], e.target[0]) for e in equations(p.model, prepared, False, False)]
        matrix, target = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        result = {name: 1e3 * float(np.sqrt(np.mean((matrix @ x - target) ** 2))) for name, x in self.models.items()}
        return result | {"spread": 1e3 * float(np.mean(np.std([matrix @ x for x in self.members], axis=0)))}


def constants(potential: Potential, element: str) -> list[float]:
    """C11, C12, C44, B in GPa and the lattice constant; silicon's C44 with atoms clamped, as the DFT data have it."""
    structure, a, _ = LATTICE[element]
    crystal = bulk(element, structure, a=a, cubic=True)
    crystal.calc = JaxffCalculator(potential, "double")
    try:
        result = elastic_constants(crystal, method="autodiff", clamped=structure == "diamond")
    except JaxffError as error:
        print(f"  no elastic constants: {str(error)[:100]}", flush=True)
        return [float("nan")] * 5
    c = result.constants
    return [c[0, 0], c[0, 1], c[3, 3], result.bulk_modulus, float(result.atoms.cell.lengths()[0])]


def vacancy_energies(potential: Potential, element: str) -> list[float]:
    """Formation energy and migration barrier in eV, fixed cell; the hop is symmetric, so one image is enough but for diamond."""
    structure, a, cells = LATTICE[element]
    crystal = bulk(element, structure, a=a, cubic=True)
    images = 5 if structure == "diamond" else 1
    try:
        found = vacancy(crystal, JaxffCalculator(potential, "double"), repeat=(cells,) * 3, images=images, fmax=0.02)
    except JaxffError as error:
        print(f"  no vacancy: {str(error)[:100]}", flush=True)
        return [float("nan")] * 2
    return [found.formation_energy, found.migration_barrier]


def element_results(element: str, options: argparse.Namespace) -> dict:
    """Everything about one element; silicon's vacancies and the band's images take most of the time."""
    started = time.perf_counter()
    structures = read_structures(options.data / f"mlearn/{element}_train.xyz.xz")
    fits = Fits([s for s in structures if s.group not in UNSEEN], *options.model_of, options.most, options.members)
    result = {**fits.facts, "constants": {}, "vacancy": {}, "unseen": {}}
    for group in UNSEEN:
        result["unseen"][group] = fits.energy_errors([s for s in structures if s.group == group])
    members = np.array([constants(fits.potential(m), element) for m in fits.members])
    result["spread"] = np.nanstd(members, axis=0).tolist()
    result["members_without_crystal"] = int(np.isnan(members[:, 0]).sum())
    for name, parameters in fits.models.items():
        potential = fits.potential(parameters)
        result["constants"][name] = constants(potential, element)
        print(f"  {element} {name}: {_numbers(result['constants'][name])}", flush=True)
        result["vacancy"][name] = vacancy_energies(potential, element) if options.vacancies else [float("nan")] * 2
    result["seconds"] = time.perf_counter() - started
    return result


def lial_results(options: argparse.Namespace) -> dict:
    started = time.perf_counter()
    files = {name: options.data / f"lial/lial_{name}.xyz.xz" for name in ("Train", "Validation", "Vacancy", "bcc-fcc")}
    fits = Fits(read_structures(files["Train"]), *options.model_of, options.most, options.members)
    errors = {name: fits.energy_errors(read_structures(files[name])[:: options.every]) for name in files}
    return {**fits.facts, "errors": errors, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("elements", nargs="*", help="of Si, Mo, Cu, Li")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", default="chebyshev", help="a descriptor with its default settings")
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--members", type=int, default=20, help="of the ensembles")
    parser.add_argument("--most", type=int, default=60, help="features, when they are selected")
    parser.add_argument("--no-vacancies", dest="vacancies", action="store_false")
    parser.add_argument("--lial", action="store_true", help="Li-Al alloys too")
    parser.add_argument("--every", type=int, default=5, help="of the Li-Al structures, each so-manieth is measured")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.model_of = {"descriptor": {"name": options.model}}, options.cutoff
    configure()
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for name in [*options.elements, *(["lial"] if options.lial else [])]:
        if name not in known:
            known[name] = lial_results(options) if name == "lial" else element_results(name, options)
            print(f"{name}: {known[name]['seconds']:.0f} s", flush=True)
            if options.json:
                options.json.write_text(json.dumps(known, indent=1) + "\n")
    report({e: known[e] for e in options.elements}, json.loads((options.data / "reference.json").read_text()))
    if options.lial:
        report_lial(known["lial"])


def report(results: dict, reference: dict) -> None:
    table, hops = reference["elastic_constants"], reference["vacancy"]
    clamped = table["dft_clamped_C44"]
    means: dict[str, list[float]] = {}
    print("\n| | C11 | C12 | C44 | B (GPa) | mean error | a (Å) | Ev | Em (eV) | Elastic | Vacancy (meV/atom) |\n|" + "---|" * 11)
    for element, r in results.items():
        dft = np.array(table["dft"][element])
        print(f"| **{element}** DFT | {_numbers(dft)} | | | | | | |")
        rows = {name: (values[:4], values[4], r["vacancy"][name], name) for name, values in r["constants"].items()}
        rows |= {name: (table[name][element], None, hops[name][element][:2], None) for name in ("SNAP", "qSNAP")}
        for name, (values, lattice, hop, own) in rows.items():
            # The peers' C44 of silicon lets atoms relax, the DFT data's does not.
            compared = [0, 1, 3] if element in clamped else [0, 1, 2, 3]
            error = 100 * float(np.mean(np.abs(np.array(values)[compared] / dft[compared] - 1)))
            means.setdefault(name, []).append(error)
            unseen = [f"{r['unseen'][g][own]:.1f}" if own else "" for g in UNSEEN]
            label = {"all": f"all {r['features']}", "selected": f"selected {r['selected']}"}.get(name, name)
            lattice = "" if lattice is None else f"{lattice:.3f}"
            print(f"| {label} | {_numbers(values)} | {error:.1f} % | {lattice} | {hop[0]:.2f} | {hop[1]:.2f} | {' | '.join(unseen)} |")
        print(f"| ensemble ± | {_numbers(r['spread'][:4])} | | {r['spread'][4]:.3f} | | | {r['unseen']['Elastic']['spread']:.1f} | {r['unseen']['Vacancy']['spread']:.1f} |")
    print("\n| mean error of the elastic constants | " + " | ".join(means) + " |\n|" + "---|" * (1 + len(means)))
    for number, element in enumerate(results):
        print(f"| {element} | " + " | ".join(f"{values[number]:.1f} %" for values in means.values()) + " |")
    if len(results) > 1:
        print("| all | " + " | ".join(f"{np.mean(values):.1f} %" for values in means.values()) + " |")


def report_lial(result: dict) -> None:
    print(f"\n| Li-Al, energies, RMSE in meV/atom | all {result['features']} | selected {result['selected']} | ensemble | its spread |\n|---|---|---|---|---|")
    for name, errors in result["errors"].items():
        print(f"| {name} | " + " | ".join(f"{errors[key]:.2f}" for key in ("all", "selected", "ensemble", "spread")) + " |")


def _numbers(values) -> str:
    return " | ".join(f"{value:.1f}" for value in values)


if __name__ == "__main__":
    main()
