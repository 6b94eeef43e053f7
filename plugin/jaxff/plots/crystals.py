"""Plots of crystal properties: phonons, equation of state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from jaxff.properties.equation_of_state import EquationOfState
    from jaxff.properties.phonons import Phonons


def phonon_plot(result: Phonons) -> Figure:
    """Band structure, and the density of states beside it."""
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    ticks: list[tuple[float, str]] = []
    for distances, frequencies, (start, end) in zip(result.distances, result.bands, result.labels, strict=True):
        left.plot(distances, frequencies, color="tab:blue", linewidth=1)
        if ticks and ticks[-1][1] != start:
            ticks[-1] = ticks[-1][0], f"{ticks[-1][1]}|{start}"
        elif not ticks:
            ticks.append((distances[0], start))
        ticks.append((distances[-1], end))
    for place, _ in ticks:
        left.axvline(place, color="0.8", linewidth=0.8)
    left.set_xticks([place for place, _ in ticks], [_greek(name) for _, name in ticks])
    left.set_xlim(ticks[0][0], ticks[-1][0])
    left.axhline(0.0, color="0.5", linewidth=0.8)
    left.set_ylabel("frequency (THz)")
    right.plot(result.density, result.frequencies, linewidth=1)
    right.set_xlabel("states (1/THz)")
    right.set_xlim(left=0.0)
    return figure


def state_plot(result: EquationOfState) -> Figure:
    """Energies against volume, with the fitted curve."""
    from ase.eos import birchmurnaghan
    from ase.units import GPa

    figure = Figure(figsize=(5.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(result.volumes, 1e3 * (result.energies - result.energy), "o", markersize=4)
    volumes = np.linspace(result.volumes.min(), result.volumes.max(), 200)
    curve = birchmurnaghan(volumes, result.energy, result.bulk_modulus * GPa, result.derivative, result.volume)
    axes.plot(volumes, 1e3 * (curve - result.energy), linewidth=1, label=f"B = {result.bulk_modulus:.1f} GPa")
    axes.set_xlabel("volume (Å³/atom)")
    axes.set_ylabel("energy above the minimum (meV/atom)")
    axes.legend()
    return figure


def _greek(name: str) -> str:
    return "|".join("Γ" if part == "G" else part for part in name.split("|"))
