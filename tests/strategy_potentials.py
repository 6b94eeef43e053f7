"""One small potential for each way in which pair_style jaxff evaluates: local, layers, grid, cell."""

from __future__ import annotations

from pathlib import Path

from conftest import make_grid_potential, make_potential
from message_passing_potentials import message_passing_potential
from whole_cell_potentials import whole_cell_potential

ELEMENTS = ("Si", "O")
SMALL = {
    "descriptor": {"name": "ace", "n_channels": 2, "n_radial": 3, "l_max": 1, "body_order": 3},
    "priors": [{"name": "zbl"}],
}
GRID = {
    "descriptor": {"name": "gmp", "sigmas": [0.5, 0.8], "orders": [0]},
    "readout": {"name": "mlp", "hidden": [4]},
    "reference_points": {"name": "grid", "spacing": 0.8},
}
MAKE = {
    "local": lambda: make_potential(ELEMENTS, architecture=SMALL),
    "layers": lambda: message_passing_potential("painn", ELEMENTS, cutoff=3.3),
    "grid": lambda: make_grid_potential(ELEMENTS, 3.4, GRID),
    "cell": lambda: whole_cell_potential(ELEMENTS),
}


def save_potentials(folder: Path) -> None:
    """``local.jaxff``, ``layers.jaxff``, ``grid.jaxff`` and ``cell.jaxff``, all of silicon and oxygen."""
    for name, make in MAKE.items():
        make().save(folder / f"{name}.jaxff")
