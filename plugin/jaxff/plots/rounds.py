"""The course of an active loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

PANELS = (
    ("force error (eV/Å)", {"error_quantile": "expected, quantile", "threshold": "threshold", "force_rmse": "RMSE"}),
    ("number", {"structures": "structures", "labels": "labels"}),
    ("coverage", {"coverage": "coverage"}),
)


def rounds_plot(rounds: Sequence[Mapping[str, Any]]) -> Figure:
    """Errors, labels and coverage against the round; what no round tells is left out."""
    panels = []
    for label, lines in PANELS:
        known = {key: name for key, name in lines.items() if any(r.get(key) is not None for r in rounds)}
        if known:
            panels.append((label, known))
    figure = Figure(figsize=(3.6 * max(len(panels), 1), 3.4), layout="constrained")
    for n, (label, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), n)
        for key, name in lines.items():
            shown = [(r["round"], r[key]) for r in rounds if r.get(key) is not None]
            style = "--" if key == "threshold" else "o-"
            axes.plot(*zip(*shown, strict=True), style, markersize=4, linewidth=1.2, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("round")
        axes.set_ylabel(label)
        if key == "coverage":
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        else:
            axes.set_ylim(bottom=0.0)
            axes.legend(fontsize="small")
    return figure
