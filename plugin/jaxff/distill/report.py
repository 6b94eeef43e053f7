"""The comparison of student and teacher as tables for the terminal and as one figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from jaxff.properties.radial_distribution import R_MAX


def tables(comparison: Mapping[str, Any]) -> Iterator[Table]:
    """States, properties and speed."""
    states = Table(title="errors against the teacher, on structures that nobody trained on")
    for column in ("state", "force, eV/Å", "of the RMS force", "energy, meV/atom", "stress, GPa"):
        states.add_column(column, justify="left" if column == "state" else "right")
    for name, found in comparison["states"].items():
        if not found["frames"]:
            states.add_row(name, "the teacher failed on all", "", "", "")
            continue
        states.add_row(
            name,
            f"{found['force_rmse_ev_a']:.3f}",
            f"{100 * found['force_error_part']:.1f} %",
            f"{found['energy_rmse_mev_atom']:.2f}",
            f"{found['stress_rmse_gpa']:.3f}",
        )
    yield states
    if comparison["properties"]:
        values = Table(title="properties")
        for column in ("structure", "property", "student", "teacher", "off by"):
            values.add_column(column, justify="left" if column in ("structure", "property") else "right")
        for row in comparison["properties"]:
            off = row["off_percent"]
            values.add_row(
                row["structure"],
                row["property"],
                _text(row["student"]),
                _text(row["teacher"]),
                "" if off is None else f"{off:+.1f} %",
            )
        yield values
    speeds = Table(title="µs an atom and step, in ASE on this machine")
    for column in ("atoms", "student", "teacher", "times faster"):
        speeds.add_column(column, justify="right")
    ours, theirs = comparison["speed_us"]["student"], comparison["speed_us"]["teacher"]
    for atoms in ours:
        speeds.add_row(atoms, f"{ours[atoms]:.1f}", f"{theirs[atoms]:.1f}", f"{theirs[atoms] / ours[atoms]:.0f}")
    yield speeds


def verdict(comparison: Mapping[str, Any]) -> str:
    """Whether every state's force errors are as small as asked for; and if the run ended before its goal, how it goes
    on."""
    shown = {name: found["force_error_part"] for name, found in comparison["states"].items() if found["frames"]}
    asked = 100 * comparison["error_asked_for"]
    if not shown:
        return "no state could be compared"
    worst = max(shown, key=lambda name: shown[name])
    kept = "in every state at most" if 100 * shown[worst] <= asked else f"MORE THAN ASKED FOR: in {worst}"
    text = f"force errors are {kept} {100 * shown[worst]:.1f} % of the RMS force ({asked:g} % asked for)"
    if not comparison["goal_met"]:
        text += "; some forces are still expected to be worse, and the same command with more --rounds goes on"
    return text


def liquid_difference(comparison: Mapping[str, Any]) -> float | None:
    """Mean absolute difference of the two liquids' radial distribution functions, over all pairs of elements."""
    ours, theirs = comparison.get("liquid_student"), comparison.get("liquid_teacher")
    if not ours or not theirs or "error" in ours or "error" in theirs:
        return None
    return float(np.mean([np.abs(np.subtract(ours[pair], theirs[pair])) for pair in theirs]))


def comparison_plot(comparison: Mapping[str, Any]) -> Figure:
    """Force errors by state, and the radial distribution functions of the liquid."""
    shown = {name: found for name, found in comparison["states"].items() if found["frames"]}
    difference = liquid_difference(comparison)
    figure = Figure(figsize=(10.0 if difference is not None else 5.0, 4.0), layout="constrained")
    panels: Any = figure.subplots(1, 2 if difference is not None else 1, squeeze=False)[0]
    parts = [100 * found["force_error_part"] for found in shown.values()]
    panels[0].barh(list(shown), parts, color="tab:blue")
    panels[0].axvline(100 * comparison["error_asked_for"], color="0.5", linewidth=1, linestyle="--")
    panels[0].invert_yaxis()
    panels[0].set_xlabel("force error, % of the RMS force")
    if difference is not None:
        theirs, ours = comparison["liquid_teacher"], comparison["liquid_student"]
        for n, pair in enumerate(theirs):
            r = (np.arange(len(theirs[pair])) + 0.5) * R_MAX / len(theirs[pair])
            panels[1].plot(r, theirs[pair], color=f"C{n}", linewidth=3, alpha=0.35, label=f"{pair}, teacher")
            panels[1].plot(r, ours[pair], color=f"C{n}", linewidth=1, label=f"{pair}, student")
        panels[1].set_xlabel("r (Å)")
        panels[1].set_ylabel("g(r)")
        panels[1].set_title(f"liquid, {comparison['liquid_k']:.0f} K")
        panels[1].legend(fontsize="small")
    return figure


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)[:40]
