"""VASP's vasprun.xml and OUTCAR: every ionic step, with the energy that the forces are derivatives of."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

from jaxff.compression import OPENERS

logger = logging.getLogger(__name__)

NO_SMEARING = "e_0_energy"
"""VASP's name of the energy that is extrapolated to no smearing, under which it is kept."""
MOST_ELECTRONIC_STEPS = re.compile(r'\bNELM\s*=\s*(\d+)|name="NELM">\s*(\d+)')
ELECTRONIC_STEP = re.compile(r"Iteration\s+\d+\(\s*\d+\)|<scstep>")
LAST_LINE_OF_STEP = re.compile(r"FREE ENERGIE OF THE ION-ELECTRON SYSTEM|</calculation>")


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
    wrong, most = _exhausted(path)
    if wrong:
        named = ", ".join([f"frame {n}" for n in wrong[:3]] + ["..."] * (len(wrong) > 3))
        logger.info(
            f"{path}: {len(wrong)} of {len(frames)} frames took all NELM = {most} electronic steps, and have probably "
            f"not converged ({named}): remove them"
        )
    return frames


def _exhausted(path: Path) -> tuple[list[int], int]:
    """The ionic steps that took as many electronic steps as were allowed, and how many that is."""
    most, steps, ionic, found = 0, 0, 0, []
    with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            if not most and (limit := MOST_ELECTRONIC_STEPS.search(line)):
                most = int(limit[1] or limit[2])
            elif ELECTRONIC_STEP.search(line):
                steps += 1
            elif LAST_LINE_OF_STEP.search(line):
                if most and steps >= most:
                    found.append(ionic)
                steps, ionic = 0, ionic + 1
    return found, most
