"""VASP's vasprun.xml and OUTCAR: every ionic step, with the energy that the forces are derivatives of."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

NO_SMEARING = "e_0_energy"
"""VASP's name of the energy that is extrapolated to no smearing, under which it is kept."""


def read_vasp(path: Path) -> list[Any]:
    """The ionic steps of a run, whose ``energy`` is VASP's free energy (TOTEN): forces and stress are its derivatives,
    and not those of the energy that is extrapolated to no smearing. ASE turns the sign of the stress.
    """
    import ase.io

    frames: Any = ase.io.read(os.fspath(path), ":")
    apart = []
    for atoms in frames:
        results = atoms.calc.results if atoms.calc is not None else {}
        if {"energy", "free_energy"} <= set(results):
            atoms.info[NO_SMEARING] = float(results["energy"])
            results["energy"] = float(results["free_energy"])
            apart.append(abs(results["energy"] - atoms.info[NO_SMEARING]) / len(atoms))
    if apart:
        logger.info(
            f"{path}: energies are VASP's free energies, of which forces are the derivatives; those extrapolated to no "
            f"smearing, up to {1e3 * max(apart):.2g} meV/atom away, are under the name {NO_SMEARING}"
        )
    return frames
