"""How the labels of structures are spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import units
from jaxtyping import Float
from matplotlib.figure import Figure

from jax_models.training.data.structures import Structure, elements_of, reference_energies
from jaxff.plots.figures import COLORS, OTHERS, plain

BINS = 60


def label_histograms(structures: Sequence[Structure]) -> Figure:
    """Energies less those of the atoms (eV/atom), components of forces (eV/Å) and stresses (GPa), numbers of atoms; a
    colour for each of the most frequent ``config_type``."""
    groups = _groups(structures)
    panels = [
        ("energy less that of its elements (eV/atom)", _energies(structures)),
        ("force component (eV/Å)", lambda s: np.ravel(s.forces) if s.forces is not None else np.zeros(0)),
        ("stress component (GPa)", _stress),
        ("atoms in a structure", lambda s: np.array([len(s)], float)),
    ]
    figure = Figure(figsize=(9.0, 6.5), layout="constrained")
    for number, (label, values) in enumerate(panels, start=1):
        axes = figure.add_subplot(2, 2, number)
        _histogram(axes, groups, values)
        axes.set_xlabel(label)
        axes.set_ylabel("number")
        if number == 1 and len(groups) > 1 and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    return figure


def _groups(structures: Sequence[Structure]) -> dict[str, list[Structure]]:
    """By ``config_type``, the rare ones together."""
    groups: dict[str, list[Structure]] = {}
    for s in structures:
        groups.setdefault(s.group, []).append(s)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    most = len(COLORS)
    rest = [s for _, members in ordered[most:] for s in members]
    return dict(ordered[:most]) | ({"others": rest} if rest else {})


def _histogram(
    axes, groups: dict[str, list[Structure]], values: Callable[[Structure], Float[np.ndarray, " V"]]
) -> None:
    parts = [np.concatenate([values(s) for s in members]) for members in groups.values()]
    parts = [part[np.isfinite(part)] for part in parts]
    if not sum(map(len, parts)):
        axes.text(0.5, 0.5, "none labelled", ha="center", va="center", transform=axes.transAxes)
        return
    names = [plain(name) or "no config_type" for name in groups]
    colors = [*COLORS[: len(groups)], OTHERS][: len(groups)]
    axes.hist(parts, BINS, stacked=True, label=names, color=colors)
    axes.set_yscale("log")


def _energies(structures: Sequence[Structure]) -> Callable[[Structure], Float[np.ndarray, " 1"]]:
    labelled = [s for s in structures if np.isfinite(s.energy) and len(s)]
    if not labelled:
        return lambda s: np.zeros(0)
    elements = elements_of(labelled)
    references = dict(zip(elements, reference_energies(labelled, elements), strict=True))

    def of(s: Structure) -> Float[np.ndarray, " 1"]:
        known = len(s) and not s.isolated and set(s.symbols) <= set(references)
        return np.array([(s.energy - sum(references[e] for e in s.symbols)) / len(s)]) if known else np.zeros(0)

    return of


def _stress(s: Structure) -> Float[np.ndarray, " C"]:
    volume = abs(np.linalg.det(s.cell))
    return np.zeros(0) if s.virial is None else np.ravel(s.virial) / volume / units.GPa
