"""What the demo leaves behind: plots, summary.json, summary.md and a table on the screen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from rich.console import Console, JustifyMethod
from rich.table import Table

from jax_models.model_file import write_atomically
from jaxff.demo.run import Results
from jaxff.plots.figures import energy_traces, parity, path_plot, save


def report(results: Results, console: Console) -> None:
    """Write plots and summaries into the demo's folder and print the comparison."""
    folder = results.folder
    save(parity(results.evaluation), folder / "parity.png")
    save(path_plot(results.barriers), folder / "barrier.png")
    traces = {name: results.trajectories[name] for name in ("ASE", "LAMMPS")}
    save(energy_traces({name: (t.time, t.total) for name, t in traces.items()}), folder / "nve.png")
    data = summary(results)
    write_atomically(folder / "summary.json", (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())
    rows = comparison(data)
    write_atomically(folder / "summary.md", markdown(data, rows).encode())
    table = Table(title="One file, si.jaxff, beside the potential that made its data")
    sides: tuple[JustifyMethod, ...] = "left", "right", "right", "right"
    for title, side in zip(("", "jaxff", "Stillinger-Weber", "difference"), sides, strict=True):
        table.add_column(title, justify=side)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for line in sentences(data):
        console.print(line, soft_wrap=True, highlight=False)


def summary(results: Results) -> dict[str, Any]:
    """The demo's numbers under plain names; pairs have the keys ``jaxff`` and ``stillinger_weber``."""

    def pair(model: float, reference: float) -> dict[str, float]:
        return {"jaxff": float(model), "stillinger_weber": float(reference)}

    ase, lammps, reference = (results.trajectories[name] for name in ("ASE", "LAMMPS", "Stillinger-Weber"))
    model_elastic, reference_elastic = (results.elastic[name] for name in ("jaxff", "Stillinger-Weber"))
    model_path, reference_path = (results.barriers[name] for name in ("jaxff", "Stillinger-Weber"))
    elastic = {
        name: pair(model_elastic.constants[index], reference_elastic.constants[index])
        for name, index in (("c11_gpa", (0, 0)), ("c12_gpa", (0, 1)), ("c44_gpa", (3, 3)))
    }
    half = len(ase.time) // 2
    return {
        "training": {"n_structures": results.n_training, "n_atoms": results.n_training_atoms},
        "test_errors": results.evaluation.to_dict(),
        "lattice_constant_angstrom": pair(*results.lattice),
        **elastic,
        "bulk_modulus_gpa": pair(model_elastic.bulk_modulus, reference_elastic.bulk_modulus),
        "vacancy_hop_ev": pair(model_path.forward, reference_path.forward),
        "vibrational_energy_300k_mev_per_atom": pair(
            *(1e3 * (run.potential[half:].mean() - run.potential[0]) for run in (ase, reference))
        ),
        "nve": {
            "picoseconds": float(ase.time[-1]),
            "total_energy_range_mev_per_atom": float(1e3 * np.ptp(ase.total)),
            "ase_lammps_first_energy_difference_ev_per_atom": float(abs(ase.potential[0] - lammps.potential[0])),
            "ase_lammps_largest_total_energy_difference_ev_per_atom": float(np.abs(ase.total - lammps.total).max()),
        },
        "seconds": {name: round(value, 2) for name, value in results.seconds.items()},
        "total_seconds": round(sum(results.seconds.values()), 1),
    }


ROWS = {
    "lattice_constant_angstrom": ("lattice constant (Å)", 4),
    "c11_gpa": ("C11 (GPa)", 1),
    "c12_gpa": ("C12 (GPa)", 1),
    "c44_gpa": ("C44 (GPa)", 1),
    "bulk_modulus_gpa": ("bulk modulus (GPa)", 1),
    "vacancy_hop_ev": ("vacancy hop barrier (eV)", 3),
    "vibrational_energy_300k_mev_per_atom": ("potential energy of vibration, 300 K (meV/atom)", 1),
}


def comparison(data: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows of name, jaxff, Stillinger-Weber, difference."""
    rows = []
    for key, (name, digits) in ROWS.items():
        model, reference = data[key]["jaxff"], data[key]["stillinger_weber"]
        rows.append(
            (
                name,
                f"{model:.{digits}f}",
                f"{reference:.{digits}f}",
                f"{round(model - reference, digits) + 0.0:+.{digits}f}",
            )
        )
    return rows


def sentences(data: dict[str, Any]) -> list[str]:
    """What the table does not say."""
    errors, nve = data["test_errors"], data["nve"]
    return [
        f"Test set: energy RMSE {errors['energy_rmse_mev_per_atom']:.2f} meV/atom, "
        f"force RMSE {errors['force_rmse_ev_per_angstrom']:.4f} eV/Å, over {errors['n_structures']} structures.",
        f"NVE, {nve['picoseconds']:g} ps: the total energy stays within {nve['total_energy_range_mev_per_atom']:.3f} "
        f"meV/atom. ASE and LAMMPS start from energies that differ by "
        f"{nve['ase_lammps_first_energy_difference_ev_per_atom']:.0e} eV/atom; along the run the totals differ "
        "by at most "
        f"{nve['ase_lammps_largest_total_energy_difference_ev_per_atom']:.0e} eV/atom.",
        f"All of it took {data['total_seconds']:.0f} s, {data['seconds']['training']:.0f} s of it training.",
    ]


def markdown(data: dict[str, Any], rows: list[tuple[str, str, str, str]]) -> str:
    """summary.md."""
    table = ["| | jaxff | Stillinger-Weber | difference |", "|---|---:|---:|---:|"]
    table += ["| " + " | ".join(row) + " |" for row in rows]
    training = data["training"]
    return "\n".join(
        [
            "# jaxff demo: silicon",
            "",
            f"`si.jaxff` was trained on {training['n_structures']} structures ({training['n_atoms']} atoms) "
            "that LAMMPS labelled "
            "with the empirical Stillinger-Weber potential. The same file then ran in ASE and in LAMMPS.",
            "",
            *table,
            "",
            *sentences(data),
            "",
            "| file | what it is |",
            "|---|---|",
            "| `train.xyz`, `test.xyz` | structures with energies, forces and stresses |",
            "| `si.jaxff` | the trained potential |",
            "| `si.jaxff.training.png`, `si.jaxff.log.jsonl` | errors during training |",
            "| `in.nve`, `silicon.data` | the LAMMPS run; repeat it with `jaxff lmp -in in.nve` |",
            "| `parity.png` | predicted against reference energies and forces |",
            "| `nve.png` | total energy in ASE and in LAMMPS |",
            "| `barrier.png` | energy along the vacancy hop |",
            "| `summary.json` | the numbers above |",
            "",
        ]
    )
