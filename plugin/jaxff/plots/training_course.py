"""The course of a training, drawn from its log."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure


def training_curve(history: list[dict[str, Any]]) -> Figure:
    """Training and validation errors against the epoch, a panel for each kind of label."""
    panels = [
        ("energy_rmse", 1e3, "energy RMSE (meV/atom)"),
        ("force_rmse", 1.0, "force RMSE (eV/Å)"),
        ("virial_rmse", 1e3, "virial RMSE (meV/atom)"),
    ]
    panels = [panel for panel in panels if panel[0] in history[0]["train"]]
    figure = Figure(figsize=(3.8 * len(panels), 3.4), layout="constrained")
    epochs = [record["epoch"] for record in history]
    for n, (key, unit, label) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), n)
        axes.plot(epochs, [unit * record["train"][key] for record in history], label="training (running)", linewidth=1)
        if key in history[0]["validation"]:
            axes.plot(epochs, [unit * r["validation"][key] for r in history], label="validation (averaged weights)")
        elif key in history[0].get("averaged", {}):
            label_of = "training (averaged weights); nothing held out"
            axes.plot(epochs, [unit * r["averaged"][key] for r in history], label=label_of)
        axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
    axes.legend(fontsize="small")
    return figure


def ridge_curve(history: list[dict[str, Any]]) -> Figure:
    """Loss on the data fitted, and on the parts left out in turn, against the strength of the ridge penalty; of a
    smooth prior, its `evidence_curve`."""
    if "log_evidence" in history[0]:
        return evidence_curve(history)
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    strengths = [record["ridge"] for record in history]
    for key, label in (("training_loss", "fitted"), ("validation_loss", "left out")):
        axes.plot(strengths, [record[key] for record in history], "o-", markersize=3, label=label)
    if len(history) > 1:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel("ridge strength")
    axes.set_ylabel("loss")
    axes.legend()
    return figure


def evidence_curve(history: list[dict[str, Any]]) -> Figure:
    """Of a smooth prior, the evidence against the part of triplets, a line for each power of the orders."""
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for power in sorted({record["smoothness"] for record in history}):
        line = [r for r in history if r["smoothness"] == power]
        axes.plot(
            [r["triplets"] for r in line],
            [r["log_evidence"] for r in line],
            "o-",
            markersize=3,
            label=f"smoothness {power}",
        )
    axes.set_xscale("log")
    axes.set_xlabel("part of triplets")
    axes.set_ylabel("log evidence")
    axes.legend()
    return figure
