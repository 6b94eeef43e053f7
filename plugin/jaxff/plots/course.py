"""Plots of a run: what became of temperature, energy, volume and pressure; how a relaxation went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

DYNAMICS = {
    "temperature_k": "temperature (K)",
    "potential_ev": "potential energy (eV)",
    "total_ev": "total energy (eV)",
    "volume_a3": "volume (Å³)",
    "pressure_gpa": "pressure (GPa)",
    "largest_expected_error_ev_a": "largest expected\nforce error (eV/Å)",
}
RELAXATION = {"energy_ev": "energy (eV)", "largest_force_ev_a": "largest force (eV/Å)", "volume_a3": "volume (Å³)"}


def course_plot(records: Sequence[dict[str, float]]) -> Figure:
    """A panel for each quantity that ``records`` hold and that changes, against time, or steps of a relaxation."""
    dynamics = "time_ps" in records[0]
    labels = DYNAMICS if dynamics else RELAXATION
    x = np.array([record["time_ps" if dynamics else "step"] for record in records])
    columns = {name: np.array([record.get(name, np.nan) for record in records]) for name in labels}
    shown = [name for name, values in columns.items() if len(values[np.isfinite(values)]) > 1 and np.nanstd(values) > 0]
    figure = Figure(figsize=(7.0, 1.0 + 1.5 * max(len(shown), 1)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(max(len(shown), 1), 1, sharex=True))
    for axes, name in zip(panels, shown, strict=False):
        axes.plot(x, columns[name], ".-" if len(x) < 60 else "-", linewidth=1)
        axes.set_ylabel(labels[name])
        if name == "largest_force_ev_a":
            axes.set_yscale("log")
    panels[-1].set_xlabel("time (ps)" if dynamics else "step")
    return figure
