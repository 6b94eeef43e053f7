"""Properties that other commands computed, shown as they are best read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot

from jax_models.errors import DatasetError
from jaxff.plots.crystals import phonon_plot, state_plot
from jaxff.properties.equation_of_state import EquationOfState
from jaxff.properties.phonons import Phonons
from jaxff.report.inputs import read_properties
from jaxff.report.parts import Figure, Section, Table, figure

NAMES = {
    "bulk_modulus_gpa": ("bulk modulus", "GPa"),
    "bulk_modulus_derivative": ("derivative of the bulk modulus", ""),
    "volume_per_atom": ("volume", "Å³/atom"),
    "energy_per_atom_ev": ("energy", "eV/atom"),
    "rms_residual_ev_per_atom": ("residual of the fit", "eV/atom"),
    "formation_energy_ev": ("formation energy", "eV"),
    "migration_barrier_ev": ("migration barrier", "eV"),
    "activation_energy_ev": ("activation energy", "eV"),
    "barrier_ev": ("barrier", "eV"),
    "reverse_barrier_ev": ("reverse barrier", "eV"),
    "lowest_frequency_thz": ("lowest frequency", "THz"),
    "highest_frequency_thz": ("highest frequency", "THz"),
    "relaxed_lengths_and_angles": ("relaxed lattice", "Å and °"),
    "repeat": ("supercell", "cells"),
    "saddle_negative_modes": ("directions of fall at the saddle", ""),
}
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


def properties_section(paths: Sequence[Path]) -> Section | None:
    """A table for each file, and a figure where its numbers are a curve.

    Raises:
        DatasetError: a file cannot be read, or its numbers are not what a command writes.
    """
    parts: list[Any] = []
    for path in paths:
        data = read_properties(path)
        try:
            found = [*_figures(data, path.name), *_tables(data, path.name)]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            found = []
        if not found:
            raise DatasetError(f"{path} holds no properties; give what jaxff elastic, eos, ... wrote with --json")
        parts += found
    if not parts:
        return None
    return Section("properties", "Properties", "Computed before, with jaxff's own commands.", parts)


def _figures(data: dict[str, Any], name: str) -> list[Figure]:
    if "volumes_per_atom" in data:
        state = EquationOfState(
            np.array(data["volumes_per_atom"], float),
            np.array(data["energies_per_atom_ev"], float),
            data["volume_per_atom"],
            data["energy_per_atom_ev"],
            data["bulk_modulus_gpa"],
            data["bulk_modulus_derivative"],
            data["rms_residual_ev_per_atom"],
        )
        return [figure(state_plot(state), f"Equation of state, from {name}.")]
    if "bands" in data:
        phonons = Phonons(
            [np.array(piece["distances"], float) for piece in data["bands"]],
            [np.array(piece["frequencies_thz"], float) for piece in data["bands"]],
            [(piece["from"], piece["to"]) for piece in data["bands"]],
            np.array(data["dos_frequencies_thz"], float),
            np.array(data["dos_states_per_thz"], float),
            np.array(data["frequencies_at_gamma_thz"], float),
            tuple(data["repeat"]),
        )
        return [figure(phonon_plot(phonons), f"Phonons, from {name}.")]
    if "path_energies_ev" in data:
        plot = Plot(figsize=(5.2, 3.6), layout="constrained")
        axes = plot.add_subplot()
        axes.plot(np.array(data["path_energies_ev"], float), "o-")
        axes.set_xlabel("image")
        axes.set_ylabel("energy (eV)")
        return [figure(plot, f"Energy along the path, from {name}.")]
    return []


def _tables(data: dict[str, Any], name: str) -> list[Table]:
    tables = []
    if "elastic_constants_gpa" in data:
        constants = np.array(data["elastic_constants_gpa"], float).reshape(6, 6)
        rows = [[v, *(f"{value + 0.0:.1f}" for value in row)] for v, row in zip(VOIGT, constants.round(1), strict=True)]
        columns = [("", ""), *((v, "GPa") for v in VOIGT)]
        tables.append(Table(columns, rows, f"Elastic constants, from {name}"))
    rows = []
    for key, value in data.items():
        title, unit = NAMES.get(key, (key.replace("_", " "), ""))
        text = _text(value, key in NAMES)
        if text:
            rows.append([f"{title} ({unit})" if unit else title, text])
    if rows:
        tables.append(Table([("property", ""), ("value", "")], rows, f"From {name}"))
    return tables


def _text(value: Any, known: bool) -> str:
    """A number, or a short list of them under a known name; curves are drawn instead."""
    if isinstance(value, int | float) and math.isfinite(value):
        return f"{value:.5g}"
    if known and isinstance(value, list) and all(isinstance(v, int | float) for v in value):
        return ", ".join(f"{v:.5g}" for v in value)
    return ""
