"""Properties that were never in the training set, from energies alone: elastic constants, vacancies, other phases.

    python benchmarks/extrapolation.py Si Mo Cu Li --lial [--model power_spectrum] [--json FILE] [--plot FILE] [--data
    ../shared/data]

For each element linear models are fitted to the energies of mlearn's training structures, less the groups Elastic and
Vacancy: all features with a ridge, all with a smooth prior, selected ones (greedy orthogonal least squares), and an
ensemble of selections. Whatever is chosen is chosen by these energies: the ridge and the selection by left-out runs of
energies, the prior by its evidence. Then the elastic constants are computed, and a vacancy and its hop. --lial does the
same for Li-Al alloys and measures the energies of the files Vacancy and bcc-fcc. Tables are printed as Markdown; with
--json each result is kept, and found again.
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
from jax_models.training.data.batches import prepare
from jax_models.training.linear.equations import equations, with_parameters
from jax_models.training.linear.evidence import most_probable
from jax_models.training.linear.feature_selection import select
from jax_models.training.linear.least_squares import cross_validated, folds_of
from jax_models.training.linear.problem import Problem, pose
from jax_models.training.linear.selected_model import ensemble
from jax_models.training.linear.whole_cell_equations import cell_equations, prepare_cell
from jax_models.training.settings import Settings
from jaxff import JaxffCalculator
from jaxff.io import read_structures
from jaxff.properties.elastic import elastic_constants
from jaxff.properties.elastic_autodiff import differentiable
from jaxff.properties.vacancy import vacancy
from jaxff.runtime import configure

ROOT = Path(__file__).resolve().parents[1]
LATTICE = {"Si": ("diamond", 5.47, 2), "Mo": ("bcc", 3.17, 4), "Cu": ("fcc", 3.63, 3), "Li": ("bcc", 3.44, 4)}
"""Crystal, Å to start the relaxation from, and the vacancy's cell in conventional ones, as in reference.json."""
UNSEEN = ("Elastic", "Vacancy")
SEED = 0
FOLDS = 8
ENERGY_RANGE = 0.03
"""eV/atom above the lowest energy where an error counts half: about the thermal energy of a crystal at room
temperature."""
SMOOTH = ("power_spectrum",)
"""Descriptors that name the radial orders which a smooth prior needs."""


class Fits:
    """The models, as parameters of one linear problem."""

    def __init__(self, structures: list, architecture: dict, cutoff: float, most: int, members: int):
        prior = "smooth" if architecture["descriptor"]["name"] in SMOOTH else "ridge"
        settings = Settings(force_weight=0, stress_weight=0, energy_weight=1, energy_range=ENERGY_RANGE, prior=prior)
        self.problem: Problem = pose(structures, architecture, cutoff, settings)
        parts = list(self.problem.rows())
        kinds, kept = self.problem.kinds, self.problem.bias_indices
        folds = folds_of(kinds, FOLDS)
        ridge = cross_validated(
            [np.concatenate([p for p, f in zip(parts, folds, strict=True) if f == k]) for k in range(FOLDS)]
        )
        selected = select(parts, kinds, kept, most=most, seed=SEED)
        drawn = ensemble(parts, kinds, kept, members, most=most, seed=SEED)
        self.models = {"ridge": ridge.parameters, "selected": selected.parameters}
        self.members = {"ensemble": [m.parameters for m in drawn]}
        self.models["ensemble"] = np.mean(self.members["ensemble"], axis=0)
        self.facts = {
            "n_train": len(parts),
            "features": self.problem.n_parameters - len(kept),
            "selected": selected.size - len(kept),
            "in_members": [m.size - len(kept) for m in drawn],
        }
        if prior == "smooth":
            found = most_probable(np.concatenate(parts), len(parts), self.problem.parameter_names)
            self.models["smooth"], self.members["smooth"] = found.parameters, found.draw(members, SEED)
            self.facts["evidence"] = found.path

    def potential(self, parameters: np.ndarray) -> Potential:
        p = self.problem
        return Potential(p.contract, with_parameters(p.model, parameters), p.architecture, p.references)

    def energy_errors(self, structures: list) -> dict[str, float]:
        """Root-mean-square error in meV/atom of each model, and the mean spread of the members."""
        p = self.problem
        if p.model.kind == "global":
            found = cell_equations(
                p.model, [prepare_cell(s, p.model, p.contract.elements, p.references) for s in structures], False, False
            )
        else:
            prepared = [
                prepare(s, p.contract.elements, p.references, p.contract.cutoff, np.float64) for s in structures
            ]
            found = equations(p.model, prepared, False, False)
        rows = [(e.matrix[0], e.target[0]) for e in found]
        matrix, target = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        result = {name: 1e3 * float(np.sqrt(np.mean((matrix @ x - target) ** 2))) for name, x in self.models.items()}
        spreads = {
            f"{name} ±": 1e3 * float(np.mean(np.std([matrix @ x for x in m], axis=0)))
            for name, m in self.members.items()
        }
        return result | spreads


def constants(potential: Potential, element: str) -> list[float]:
    """C11, C12, C44, B in GPa and the lattice constant; silicon's C44 with atoms clamped, as the DFT data have it."""
    structure, a, _ = LATTICE[element]
    crystal = bulk(element, structure, a=a, cubic=True)
    crystal.calc = JaxffCalculator(potential, "double")
    method = "autodiff" if differentiable(potential) else "stress"
    try:
        result = elastic_constants(crystal, method=method, clamped=structure == "diamond", fmax=1e-3)
    except JaxffError as error:
        print(f"  no elastic constants: {str(error)[:100]}", flush=True)
        return [float("nan")] * 5
    c = result.constants
    return [c[0, 0], c[0, 1], c[3, 3], result.bulk_modulus, float(result.atoms.cell.lengths()[0])]


def vacancy_energies(potential: Potential, element: str) -> list[float]:
    """Formation energy and migration barrier in eV, fixed cell; the hop is symmetric, so one image is enough but for
    diamond."""
    structure, a, cells = LATTICE[element]
    crystal = bulk(element, structure, a=a, cubic=True)
    images = 5 if structure == "diamond" else 1
    try:
        found = vacancy(crystal, JaxffCalculator(potential, "double"), repeat=(cells,) * 3, images=images, fmax=0.02)
    except JaxffError as error:
        print(f"  no vacancy: {str(error)[:100]}", flush=True)
        return [float("nan")] * 2
    return [found.formation_energy, found.migration_barrier]


def fits_of(element: str, options: argparse.Namespace) -> tuple[Fits, list]:
    """The models of one element, and all structures of its file."""
    structures = read_structures(options.data / f"mlearn/{element}_train.xyz.xz")
    seen = [s for s in structures if s.group not in UNSEEN]
    return Fits(seen[:: options.thin], *options.model_of, options.most, options.members), structures


def element_results(element: str, options: argparse.Namespace) -> dict:
    """Errors and elastic constants of one element; the members' constants take most of the time."""
    started = time.perf_counter()
    fits, structures = fits_of(element, options)
    result = {**fits.facts, "constants": {}, "spread": {}, "unseen": {}}
    for group in UNSEEN:
        result["unseen"][group] = fits.energy_errors([s for s in structures if s.group == group][:: options.thin])
    for name, parameters in fits.models.items():
        result["constants"][name] = constants(fits.potential(parameters), element)
        print(f"  {element} {name}: {_numbers(result['constants'][name])}", flush=True)
    for name, members in fits.members.items() if options.spread else ():
        result["spread"][name] = np.nanstd([constants(fits.potential(m), element) for m in members], axis=0).tolist()
    result["seconds"] = time.perf_counter() - started
    return result


def vacancy_results(element: str, options: argparse.Namespace) -> dict:
    """Vacancy and hop with each model, from the same fits."""
    started = time.perf_counter()
    fits, _ = fits_of(element, options)
    result = {name: vacancy_energies(fits.potential(parameters), element) for name, parameters in fits.models.items()}
    return {**result, "seconds": time.perf_counter() - started}


def lial_results(_: str, options: argparse.Namespace) -> dict:
    """Errors on other phases and vacancies of Li-Al alloys."""
    started = time.perf_counter()
    files = {name: options.data / f"lial/lial_{name}.xyz.xz" for name in ("Train", "Validation", "Vacancy", "bcc-fcc")}
    fits = Fits(read_structures(files["Train"])[:: options.thin], *options.model_of, options.most, options.members)
    errors = {name: fits.energy_errors(read_structures(files[name])[:: options.every]) for name in files}
    return {**fits.facts, "errors": errors, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("elements", nargs="*", help="of Si, Mo, Cu, Li")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--model", default="power_spectrum", help="a descriptor with its default settings, or a mapping as JSON"
    )
    parser.add_argument("--cutoff", type=float, default=6.0, help="Å")
    parser.add_argument("--members", type=int, default=20, help="of the ensembles")
    parser.add_argument("--most", type=int, default=60, help="features, when they are selected")
    parser.add_argument("--no-vacancies", dest="vacancies", action="store_false")
    parser.add_argument(
        "--no-spread", dest="spread", action="store_false", help="do not compute the members' elastic constants"
    )
    parser.add_argument("--thin", type=int, default=1, help="of the training structures, each so-manieth is used")
    parser.add_argument("--lial", action="store_true", help="Li-Al alloys too")
    parser.add_argument("--every", type=int, default=5, help="of the Li-Al structures, each so-manieth is measured")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="the constants against DFT, e.g. docs/extrapolation.png")
    options = parser.parse_args()
    descriptor = json.loads(options.model) if options.model.startswith("{") else {"name": options.model}
    options.model_of = {"descriptor": descriptor}, options.cutoff
    configure()
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    tasks = {e: (element_results, e) for e in options.elements}
    tasks |= {"lial": (lial_results, "")} if options.lial else {}
    tasks |= {f"{e} vacancy": (vacancy_results, e) for e in options.elements} if options.vacancies else {}
    for name, (task, element) in tasks.items():
        if name not in known:
            known[name] = task(element, options)
            print(f"{name}: {known[name]['seconds']:.0f} s", flush=True)
            if options.json:
                options.json.write_text(json.dumps(known, indent=1) + "\n")
    reference = json.loads((options.data / "reference.json").read_text())
    if options.elements:
        report({e: known[e] | {"vacancy": known.get(f"{e} vacancy", {})} for e in options.elements}, reference)
    if options.lial:
        report_lial(known["lial"])
    if options.plot:
        plot({e: known[e] for e in options.elements}, reference["elastic_constants"], options.plot)


def report(results: dict, reference: dict) -> None:
    table, hops = reference["elastic_constants"], reference["vacancy"]
    means: dict[str, list[float]] = {}
    print(
        "\n| | C11 | C12 | C44 | B (GPa) | mean error | a (Å) | Ev | Em (eV) | Elastic | Vacancy (meV/atom) |\n|"
        + "---|" * 11
    )
    for element, r in results.items():
        dft = np.array(table["dft"][element])
        # The peers' C44 of silicon lets atoms relax, the DFT data's does not.
        compared = [0, 1, 3] if element in table["dft_clamped_C44"] else [0, 1, 2, 3]
        print(f"| **{element}** DFT | {_numbers(dft)} | | | | | | |")
        rows = {
            name: (values[:4], values[4], r["vacancy"].get(name, [np.nan] * 2), name)
            for name, values in r["constants"].items()
        }
        rows |= {name: (table[name][element], None, hops[name][element][:2], None) for name in ("SNAP", "qSNAP")}
        for name, (values, lattice, hop, own) in rows.items():
            error = 100 * float(np.mean(np.abs(np.array(values)[compared] / dft[compared] - 1)))
            means.setdefault(name, []).append(error)
            unseen = [f"{r['unseen'][g][own]:.1f}" if own else "" for g in UNSEEN]
            label = (
                f"selected {r['selected']}"
                if name == "selected"
                else f"{name} {r['features']}"
                if name in ("ridge", "smooth")
                else name
            )
            cells = [
                label,
                _numbers(values),
                f"{error:.1f} %",
                "" if lattice is None else f"{lattice:.3f}",
                *map(_blank, hop),
                *unseen,
            ]
            print(f"| {' | '.join(cells)} |")
        for name, spread in r["spread"].items():
            unseen = [f"{r['unseen'][g][f'{name} ±']:.1f}" for g in UNSEEN]
            print(f"| {name} ± | {_numbers(spread[:4])} | | {spread[4]:.3f} | | | {' | '.join(unseen)} |")
    print("\n| mean error of the elastic constants | " + " | ".join(means) + " |\n|" + "---|" * (1 + len(means)))
    for number, element in enumerate(results):
        print(f"| {element} | " + " | ".join(f"{values[number]:.1f} %" for values in means.values()) + " |")
    if len(results) > 1:
        print("| all | " + " | ".join(f"{np.mean(values):.1f} %" for values in means.values()) + " |")


def report_lial(result: dict) -> None:
    names = list(result["errors"]["Train"])
    print(
        f"\n| Li-Al, energies, RMSE in meV/atom; {result['features']} features, {result['selected']} selected | "
        + " | ".join(names)
        + " |"
    )
    print("|" + "---|" * (1 + len(names)))
    for file, errors in result["errors"].items():
        print(f"| {file} | " + " | ".join(f"{errors[name]:.2f}" for name in names) + " |")


def plot(results: dict, table: dict, path: Path) -> None:
    """Elastic constants over their DFT values, with the spread of the members as error bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for ax, (element, r) in zip(axes, results.items(), strict=True):
        dft = np.array(table["dft"][element])
        models = {**{name: values[:4] for name, values in r["constants"].items()}, "SNAP": table["SNAP"][element]}
        for number, (name, values) in enumerate(models.items()):
            spread = np.array(r["spread"][name][:4]) / dft if name in r["spread"] else None
            ax.errorbar(
                np.arange(4) + 0.13 * (number - 2), np.array(values) / dft, spread, fmt="o", markersize=4, label=name
            )
        ax.axhspan(0.9, 1.1, color="0.9", zorder=0)
        ax.set_xticks(range(4), ["C11", "C12", "C44", "B"])
        ax.set_title(element)
        ax.set_ylim(0, 2.2)
    axes[0].set_ylabel("elastic constant / DFT")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize="small", loc="outside right center")
    figure.savefig(path, dpi=120)


def _numbers(values) -> str:
    return " | ".join(f"{value:.1f}" for value in values)


def _blank(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


if __name__ == "__main__":
    main()
