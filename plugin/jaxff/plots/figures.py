"""Plots of results, drawn without a display."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from jax_models import ConfigError

if TYPE_CHECKING:
    from jaxff.evaluation import Evaluation, Pairs
    from jaxff.properties.barrier import Barrier

MANY = 20_000
"""Points beyond which a density says more than markers."""
COLORS = [f"C{n}" for n in (0, 1, 2, 3, 4, 5, 6, 8, 9)]
"""Of groups; matplotlib's, but for grey."""
OTHERS = "0.6"


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
    """Predicted against reference energies, forces and stresses, a colour for each ``config_type``; and, of a potential
    that knows its errors, force errors against expected ones."""
    panels = parity_panels(evaluation)
    calibrated = bool(evaluation.force_error.groups)
    columns = len(panels) + calibrated
    figure = Figure(figsize=(4.6 * max(columns, 1), 4.4), layout="constrained")
    for n, (label, pairs, title) in enumerate(panels, start=1):
        draw_parity(figure.add_subplot(1, columns, n), label, pairs, title, legend=n == 1)
    if calibrated:
        draw_calibration(figure.add_subplot(1, columns, columns), evaluation)
    return figure


def parity_panels(evaluation: Evaluation) -> list[tuple[str, Pairs, str]]:
    """Label of the axes, values and title of each quantity that has labels."""
    errors = evaluation.errors()
    panels = [
        ("energy (eV/atom)", evaluation.energy, "energy_rmse_mev_per_atom", "RMSE {:.2f} meV/atom"),
        ("force component (eV/Å)", evaluation.force, "force_rmse_ev_per_angstrom", "RMSE {:.4f} eV/Å"),
        ("stress component (GPa)", evaluation.stress, "stress_rmse_gpa", "RMSE {:.3f} GPa"),
    ]
    return [(label, pairs, text.format(errors[key])) for label, pairs, key, text in panels if pairs.groups]


def draw_parity(axes, label: str, pairs: Pairs, title: str, legend: bool) -> None:
    """Predicted against reference values of one quantity, with the line where they are equal."""
    _scatter(axes, pairs)
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="0.4", linewidth=0.8, zorder=0)
    axes.set_xlim(low, high)
    axes.set_xlabel(f"reference {label}")
    axes.set_ylabel(f"predicted {label}")
    axes.set_title(title, fontsize="medium")
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", markerscale=2)


def draw_calibration(axes, evaluation: Evaluation) -> None:
    """Force errors against expected ones, on logarithmic axes; below the line is what the expectation covers."""
    found, expected = evaluation.force_error.of(None)
    floor = error_floor(found)
    x, y = np.maximum(expected, floor), np.maximum(found, floor)
    axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, linewidths=0.1, xscale="log", yscale="log")
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color="0.4", linewidth=0.8)
    readable(axes.xaxis, axes.yaxis)
    axes.set_xlabel("expected force error (eV/Å)")
    axes.set_ylabel("force error (eV/Å)")
    axes.set_title(f"coverage {100 * evaluation.errors()['coverage']:.0f} %", fontsize="medium")


def error_floor(found: np.ndarray) -> float:
    """Where smaller errors are drawn on a logarithmic axis: those that vanish by symmetry would be infinitely far."""
    return max(1e-2 * float(np.max(found, initial=0.0)), 1e-6)


def readable(*axes_of_plot) -> None:
    """Plain numbers on logarithmic axes; where these are short, more than the powers of ten."""
    for axis in axes_of_plot:
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50.0 * low else (1.0,)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())


def plain(text: str) -> str:
    """``text`` from a file as a label: matplotlib takes dollars for mathematics and hides what begins with _."""
    shown = "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def group_colors(groups: Sequence[str]) -> dict[str, str]:
    """A colour for each group, by name; where there are more than COLORS, the rarer ones are all grey."""
    counts = Counter(groups)
    common = sorted(counts, key=lambda group: (-counts[group], group))[: len(COLORS)]
    colors = dict(zip(sorted(common), COLORS, strict=False))
    return {group: colors.get(group, OTHERS) for group in sorted(counts)}


def _scatter(axes, pairs: Pairs) -> None:
    reference, predicted = pairs.of(None)
    if len(reference) > MANY:
        axes.hexbin(reference, predicted, gridsize=120, bins="log", mincnt=1, linewidths=0.1)
        return
    size = 4 if len(reference) > 2000 else 14
    # A vector graphic of thousands of markers is slow to open.
    style: dict[str, Any] = {"s": size, "alpha": 0.7, "linewidths": 0, "rasterized": len(reference) > 2000}
    colors = group_colors(pairs.groups)
    n_others = list(colors.values()).count(OTHERS)
    for group, color in sorted(colors.items(), key=lambda item: item[1] != OTHERS):
        label = plain(group) or None
        if color == OTHERS:
            label, n_others = (f"{n_others} others", 0) if n_others else (None, 0)
        axes.scatter(*pairs.of(group), label=label, color=color, **style)


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
