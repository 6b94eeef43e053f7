"""The sections of a report, each from what was measured; None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot

from jax_models import Potential
from jax_models.errors import DatasetError
from jax_models.training.uncertainty.assess import COVERED
from jaxff.plots.figures import draw_parity, parity_panels
from jaxff.plots.known_errors import known_errors
from jaxff.plots.rounds import rounds_plot
from jaxff.plots.structure_map import principal_components, structure_map
from jaxff.plots.training_course import ridge_curve, training_curve
from jaxff.report.inputs import read_records
from jaxff.report.measure import Measured, structure_features
from jaxff.report.parts import Figure, Section, Table, figure
from jaxff.report.viewer import Viewer, viewer

WORST = 10
"""Structures that are listed."""
MOST_ON_MAP = 2000
"""Structures; more make a page that browsers open slowly."""
WILD = 5.0
"""Times the root mean square error of the calibration: from there on a force counts as wrong."""
COLUMNS = {
    "n_structures": ("structures", "", "{:d}"),
    "n_atoms": ("atoms", "", "{:d}"),
    "energy_mae_mev_per_atom": ("energy MAE", "meV/atom", "{:.2f}"),
    "energy_rmse_mev_per_atom": ("energy RMSE", "meV/atom", "{:.2f}"),
    "force_mae_ev_per_angstrom": ("force MAE", "eV/Å", "{:.4f}"),
    "force_rmse_ev_per_angstrom": ("force RMSE", "eV/Å", "{:.4f}"),
    "largest_force_error_ev_per_angstrom": ("largest force error", "eV/Å", "{:.3f}"),
    "stress_mae_gpa": ("stress MAE", "GPa", "{:.3f}"),
    "stress_rmse_gpa": ("stress RMSE", "GPa", "{:.3f}"),
    "coverage": ("coverage", "%", "{:.1%}"),
}
"""Title, unit and format of each number."""


def errors_table(rows: dict[str, dict[str, Any]], first: str, caption: str = "") -> Table:
    """One row a name; columns for what any row has."""
    shown = {key: column for key, column in COLUMNS.items() if any(key in errors for errors in rows.values())}
    return Table(
        [(first, ""), *((title, unit) for title, unit, _ in shown.values())],
        [
            [name, *(number(errors.get(key), form) for key, (_, _, form) in shown.items())]
            for name, errors in rows.items()
        ],
        caption,
    )


def number(value: Any, form: str = "{:.4g}") -> str:
    """A number as text; the % sign stands in the head of its column."""
    return "–" if value is None else form.format(value).removesuffix("%")


def parity_section(measured: Measured) -> Section:
    """Predicted against reference values, and the errors of groups, elements and single structures."""
    panels = parity_panels(measured.evaluation)
    plot = Plot(figsize=(4.1 * len(panels), 3.9), layout="constrained")
    for n, (label, pairs, title) in enumerate(panels):
        draw_parity(plot.add_subplot(1, len(panels), n + 1), label, pairs, title, legend=n == 0)
    return Section(
        "parity",
        "Predicted against reference",
        "Each point is a structure, a component of a force, or a component of a stress.",
        [figure(plot, "On the line, prediction and reference are equal.")],
    )


def errors_section(measured: Measured) -> Section:
    """Tables of errors."""
    data = measured.evaluation.to_dict()
    parts: list[Any] = []
    groups = data.get("config_type", {})
    parts.append(errors_table({**groups, "all": data}, "config_type", "By kind of structure"))
    if elements := measured.by_element():
        parts.append(errors_table(elements, "element", "By element: forces of its atoms"))
    if worst := _worst(measured):
        parts.append(worst)
    text = "Energies are per atom, forces and stresses per component; MAE is the mean of absolute errors."
    if "coverage" in data:
        text += f" Coverage: atoms whose force error is below the expected one, of which {COVERED:.0%} were asked for."
    return Section("errors", "Errors", text, parts)


def _worst(measured: Measured) -> Table | None:
    """The structures with the largest errors, each atom of which somebody may want to look at."""
    errors = [part.errors() for part in measured.parts]
    if len(errors) < 2:
        return None
    key, *_ = _judged_by(errors)
    order = sorted((n for n, e in enumerate(errors) if key in e), key=lambda n: -errors[n][key])[:WORST]
    rows = []
    for n in order:
        structure, energy, force = measured.structures[n], measured.parts[n].energy, measured.parts[n].force
        row = [_frame(structure.name), structure.group, structure.atoms.get_chemical_formula()]
        off = 1e3 * float(energy.predicted[0][0] - energy.reference[0][0]) if energy.groups else None
        row.append(number(off, "{:+.2f}"))
        row.append(number(errors[n].get("force_rmse_ev_per_angstrom"), "{:.4f}"))
        vectors = np.reshape(force.predicted[0] - force.reference[0], (-1, 3)) if force.groups else None
        row.append(number(None if vectors is None else float(np.linalg.norm(vectors, axis=1).max()), "{:.3f}"))
        rows.append(row)
    columns = [("structure", ""), ("config_type", ""), ("formula", ""), ("energy error", "meV/atom")]
    columns += [("force RMSE", "eV/Å"), ("worst atom", "eV/Å")]
    return Table(columns, rows, "Structures with the largest errors", n_text=3)


def _judged_by(errors: Sequence[dict[str, float]]) -> tuple[str, str, str]:
    """Key, title and unit of the error that says how well a structure is predicted: forces, where there are any."""
    if any("force_rmse_ev_per_angstrom" in e for e in errors):
        return "force_rmse_ev_per_angstrom", "force RMSE", "eV/Å"
    return "energy_mae_mev_per_atom", "energy error", "meV/atom"


def _frame(name: str) -> str:
    return name.rpartition(", ")[2]


def known_errors_section(measured: Measured, potential: Potential) -> Section | None:
    """Calibration, reliability and grade, of potentials that know their errors."""
    found, expected = measured.evaluation.force_error.of(None)
    if not len(found):
        return None
    grade = np.concatenate(measured.evaluation.grades)
    parts: list[Any] = [
        figure(
            known_errors(measured.evaluation, COVERED),
            "Left: atoms below the line have a smaller error than was expected of them. Middle: the part of them among "
            "atoms of similar expected errors; bars are one standard error. Right: a grade above 1 is outside of what "
            "the potential was trained on.",
        ),
        _ranking(found, expected, grade, potential),
    ]
    facts = potential.provenance.get("uncertainty", {})
    on = f" Expected errors were calibrated on {facts['calibrated_on']}." if "calibrated_on" in facts else ""
    coverage = measured.evaluation.errors()["coverage"]
    text = (
        f"Of {len(found)} atoms, {coverage:.1%} have a force error below the expected one; {COVERED:.0%} were asked "
        f"for.{on}"
    )
    return Section("uncertainty", "Does it know its errors?", text, parts)


def _ranking(found: np.ndarray, expected: np.ndarray, grade: np.ndarray, potential: Potential) -> Table:
    """How well expected error and grade sort atoms by their true errors."""
    from scipy.stats import rankdata

    scale = potential.provenance.get("uncertainty", {}).get("force_rmse")
    limit = WILD * scale * 3.0**0.5 if scale else np.inf
    wrong = found > limit
    columns = [("", ""), ("rank correlation", "with the error")]
    if 0 < wrong.sum() < len(wrong):
        columns.append((f"AUC, errors above {limit:.3g} eV/Å", f"{wrong.sum()} atoms"))
    rows = []
    for name, score in (("expected force error", expected), ("extrapolation grade", grade)):
        ranks = rankdata(score)
        flat = np.ptp(score) == 0 or np.ptp(found) == 0
        row = [name, "–" if flat else f"{np.corrcoef(ranks, rankdata(found))[0, 1]:.3f}"]
        if len(columns) > 2:
            n = wrong.sum()
            auc = (ranks[wrong].sum() - n * (n + 1) / 2) / (n * (len(wrong) - n))
            row.append(f"{auc:.3f}")
        rows.append(row)
    return Table(columns, rows, "Do larger expectations mean larger errors?")


def map_section(measured: Measured, potential: Potential) -> Section | None:
    """Structures as points by their features; None for fewer than three."""
    if len(measured.structures) < 3:
        return None
    step = -(-len(measured.structures) // MOST_ON_MAP)
    structures, parts = measured.structures[::step], measured.parts[::step]
    features, what = structure_features(potential, structures)
    places, held = principal_components(features)
    axes = tuple(f"component {n} ({part:.0%} of the variance)" for n, part in enumerate(held, start=1))
    groups = [s.group for s in structures]
    errors = [part.errors() for part in parts]
    key, title, unit = _judged_by(errors)
    values = np.array([e.get(key, np.nan) for e in errors])
    shown: list[Any] = [
        figure(
            structure_map(places, (axes[0], axes[1]), groups, values, f"{title} ({unit})"),
            "Each point is a structure; near ones are alike. Left: kinds of structures. Right: errors.",
        )
    ]
    properties: dict[str, tuple[Sequence[Any], str]] = {
        "component 1": (places[:, 0].tolist(), ""),
        "component 2": (places[:, 1].tolist(), ""),
        "atoms": ([float(len(s.atoms)) for s in structures], ""),
        "frame": ([float(step * n) for n in range(len(structures))], ""),
    }
    if np.isfinite(values).all():
        properties[title] = (values.tolist(), unit)
    if len(set(groups)) > 1:
        properties["config_type"] = ([group or "none" for group in groups], "")
    if len(parts) == sum(len(part.grades) for part in parts):
        properties["highest grade"] = ([float(part.grades[0].max()) for part in parts], "")
        properties["highest expected force error"] = (
            [float(part.force_error.predicted[0].max()) for part in parts],
            "eV/Å",
        )
    color = title if title in properties else "atoms"
    found = viewer([s.atoms for s in structures], properties, {"x": "component 1", "y": "component 2", "color": color})
    text = f"Principal components of {what}, averaged over the atoms of each structure."
    if step > 1:
        text += f" One of {step} structures is shown."
    if found:
        shown.append(found)
        text += " Click on a point below to see its structure; the menu chooses what the colours mean."
    else:
        text += " With chemiscope installed (pip install chemiscope), structures can be looked at here."
    return Section("map", "Map of the structures", text, shown)


def training_section(potential: Potential, log: Path) -> Section | None:
    """The course of the training, from its log; else what the file itself remembers."""
    provenance = potential.provenance
    parts: list[Figure | Table | Viewer] = []
    text, broken = "", False
    if log.is_file():
        try:
            plot = _course(read_records(log))
        except (DatasetError, KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            plot, broken, text = None, True, f"The log {log.name} could not be drawn ({type(error).__name__}). "
        if plot is not None:
            parts.append(figure(plot, f"From {log.name}."))
    else:
        text = f"There is no log {log.name} beside the potential; these are the errors that its file remembers. "
    # As `COLUMNS`, but in the units of the trainer.
    metrics = provenance.get("metrics", {})
    rows = {
        name: {
            title: scale * float(errors[key])
            for key, title, scale in (
                ("energy_rmse", "energy_rmse_mev_per_atom", 1e3),
                ("energy_mae", "energy_mae_mev_per_atom", 1e3),
                ("force_rmse", "force_rmse_ev_per_angstrom", 1.0),
                ("force_mae", "force_mae_ev_per_angstrom", 1.0),
            )
            if key in errors
        }
        for name, errors in metrics.items()
    }
    if any(rows.values()):
        parts.append(errors_table(rows, "structures", "At the end of the training"))
    if not parts and not broken:
        return None
    counts = {"n_train": "structures to train on", "n_validation": "held out", "best_epoch": "best epoch"}
    known = [f"{name}: {provenance[key]}" for key, name in counts.items() if key in provenance]
    return Section("training", "Training", text + ", ".join(known).capitalize() + ("." if known else ""), parts)


def _course(history: list[dict[str, Any]]) -> Plot | None:
    if not history:
        return None
    if "train" in history[0]:
        known = {"energy_rmse", "force_rmse", "virial_rmse"} & set(history[0]["train"])
        return training_curve(history) if known else None
    return ridge_curve(history)


def rounds_section(rounds: Sequence[dict[str, Any]]) -> Section | None:
    """The course of an active loop."""
    if not rounds:
        return None
    columns = {
        "round": ("round", "", "{}"),
        "structures": ("structures", "", "{}"),
        "labels": ("labels", "", "{}"),
        "coverage": ("coverage", "%", "{:.1%}"),
        "error_quantile": ("expected error, quantile", "eV/Å", "{:.3f}"),
        "threshold": ("threshold", "eV/Å", "{:.3f}"),
        "force_rmse": ("force RMSE", "eV/Å", "{:.4f}"),
    }
    shown = {key: c for key, c in columns.items() if any(r.get(key) is not None for r in rounds)}
    table = Table(
        [(title, unit) for title, unit, _ in shown.values()],
        [[number(r.get(key), form) for key, (_, _, form) in shown.items()] for r in rounds],
    )
    text = "What each round of the active loop explored, labelled and reached."
    return Section(
        "rounds",
        "Rounds of the active loop",
        text,
        [figure(rounds_plot(rounds), "The loop goes on until the expected error stays below the threshold."), table],
    )
