"""What feature selection did, drawn."""

from __future__ import annotations

from collections import Counter
from typing import Any

from matplotlib.figure import Figure

DRAWN = ("order", "body_order", "degree", "n", "l", "scale", "sigma", "power", "channel", "element")
"""Parts of a feature's name that get a panel, where the descriptor has them."""


def selection_path(report: dict[str, Any]) -> Figure:
    """Error on fitted and on left-out structures against the number of features."""
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    path = report["path"]
    sizes = [record["features"] for record in path]
    axes.plot(sizes, [record["training_error"] for record in path], label="fitted", linewidth=1)
    axes.errorbar(
        sizes, [r["error"] for r in path], [r["spread"] for r in path], label="left out", linewidth=1, elinewidth=0.5
    )
    axes.axvline(report["size"], color="0.5", linewidth=0.8, linestyle="--", label=f"selected: {report['size']}")
    axes.axhline(
        report["nested"]["error"], color="tab:red", linewidth=0.8, linestyle=":", label="nested cross-validation"
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("features")
    axes.set_ylabel("error (eV/atom, weighted)")
    axes.legend(fontsize="small")
    return figure


def selected_feature_counts(selected: list[dict[str, Any]]) -> Figure:
    """How many selected features have each order, scale, power, ...; weighted by how often random halves choose them
    too."""
    features = [record for record in selected if record["feature"] is not None]
    keys = [key for key in DRAWN if len({_text(r.get(key)) for r in features if r.get(key) is not None}) > 1] or [
        "element"
    ]
    figure = Figure(figsize=(2.6 * len(keys), 3.2), layout="constrained")
    for number, key in enumerate(keys, start=1):
        axes = figure.add_subplot(1, len(keys), number)
        present = [r for r in features if r.get(key) is not None]
        counts = Counter(_text(r[key]) for r in present)
        stable: Counter[str] = Counter()
        for record in present:
            stable[_text(record[key])] += record["frequency"]
        names = sorted(counts, key=lambda name: (len(name), name))
        axes.barh(names, [counts[name] for name in names], color="0.8", label="selected")
        axes.barh(names, [stable[name] for name in names], height=0.4, label="x frequency")
        axes.set_title(key, fontsize="medium")
        axes.tick_params(labelsize="small")
        if number == 1:
            axes.legend(fontsize="x-small")
    return figure


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_text(part) for part in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
