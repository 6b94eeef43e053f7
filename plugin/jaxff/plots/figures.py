"""Plots of results, drawn without a display."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from jax_models import ConfigError

if TYPE_CHECKING:
    from jaxff.evaluation import Evaluation, Pairs
    from jaxff.properties.barrier import Barrier

MANY = 20_000
"""Points beyond which a density says more than markers."""


def plot_format(path: str | Path) -> str:
    """The format that the ending of ``path`` means; a command checks it before it computes what is to be plotted.

    Raises:
        ConfigError: matplotlib does not know that ending.
    """
    kind = Path(path).suffix.lstrip(".").lower()
    allowed = Figure().canvas.get_supported_filetypes()
    if kind not in allowed:
        raise ConfigError(f"cannot plot to {path}: its ending must be one of {', '.join(sorted(allowed))}")
    return kind


def save(figure: Figure, path: str | Path) -> None:
    """Write ``figure`` in the format of its ending, replacing an old file only when the new one is complete.

    Raises:
        ConfigError: matplotlib does not know that ending.
    """
    from jax_models.model_file import write_atomically

    data = io.BytesIO()
    figure.savefig(data, format=plot_format(path), dpi=150)
    write_atomically(path, data.getvalue())


def parity(evaluation: Evaluation) -> Figure:
    """Predicted against reference energies and forces, a colour for each ``config_type``."""
    errors = evaluation.errors()
    panels = [
        ("energy (eV/atom)", evaluation.energy, "energy_rmse_mev_per_atom", "RMSE {:.2f} meV/atom"),
        ("force component (eV/Å)", evaluation.force, "force_rmse_ev_per_angstrom", "RMSE {:.4f} eV/Å"),
    ]
    panels = [panel for panel in panels if panel[1].groups]
    calibrated = bool(evaluation.force_error.groups)
    columns = len(panels) + calibrated
    figure = Figure(figsize=(4.6 * max(columns, 1), 4.4), layout="constrained")
    if calibrated:
        _calibration(figure.add_subplot(1, columns, columns), evaluation.force_error, errors["coverage"])
    for n, (label, pairs, key, text) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, columns, n)
        _scatter(axes, pairs)
        low, high = axes.get_xlim()
        axes.plot([low, high], [low, high], color="0.4", linewidth=0.8, zorder=0)
        axes.set_xlim(low, high)
        axes.set_xlabel(f"reference {label}")
        axes.set_ylabel(f"predicted {label}")
        axes.set_title(text.format(errors[key]), fontsize="medium")
        if n == 1 and any(pairs.groups):
            axes.legend(fontsize="small", markerscale=2)
    return figure


def _calibration(axes, pairs: Pairs, coverage: float) -> None:
    """Force errors against expected ones, on logarithmic axes; below the line is what the expectation covers."""
    found, expected = pairs.of(None)
    floor = max(1e-3 * float(np.max(found, initial=1e-6)), 1e-6)
    x, y = np.maximum(expected, floor), np.maximum(found, floor)
    axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, linewidths=0.1, xscale="log", yscale="log")
    axes.plot([floor, x.max()], [floor, x.max()], color="0.4", linewidth=0.8)
    axes.set_xlabel("expected force error (eV/Å)")
    axes.set_ylabel("force error (eV/Å)")
    axes.set_title(f"coverage {100 * coverage:.0f} %", fontsize="medium")


def _scatter(axes, pairs: Pairs) -> None:
    reference, predicted = pairs.of(None)
    if len(reference) > MANY:
        axes.hexbin(reference, predicted, gridsize=120, bins="log", mincnt=1, linewidths=0.1)
        return
    size = 4 if len(reference) > 2000 else 14
    for group in sorted(set(pairs.groups)):
        axes.scatter(*pairs.of(group), s=size, label=group or None, alpha=0.7, linewidths=0)


def path_plot(paths: dict[str, Barrier]) -> Figure:
    """Energy along one or more minimum-energy paths, each under its name."""
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for name, path in paths.items():
        text = f"{path.forward:.3f} eV"
        axes.plot(path.distances, path.energies, "o-", label=f"{name}: {text}" if name else text)
    axes.set_xlabel("distance along the path (Å)")
    axes.set_ylabel("energy (eV)")
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.legend()
    return figure


def energy_traces(traces: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Total energy (meV/atom, from its start) against time (ps), one line a name."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for n, (name, (time, energy)) in enumerate(traces.items()):
        axes.plot(time, 1e3 * (energy - energy[0]), label=name, linewidth=2.2 - n, linestyle=("-", "--", ":")[n % 3])
    axes.set_xlabel("time (ps)")
    axes.set_ylabel("change of total energy (meV/atom)")
    axes.legend()
    return figure
