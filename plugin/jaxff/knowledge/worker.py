"""A process that labels structures: one JSON line in, one out. What kills it does not kill the labelling.

python -m jaxff.knowledge.worker NOISE_FILE
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from jaxff.knowledge.teachers import parse_teacher


def main() -> None:
    """Answer requests until there are no more; whatever teachers print goes to NOISE_FILE."""
    answers = os.fdopen(os.dup(1), "w")
    noise = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    calculators: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), calculators)), file=answers, flush=True)


def answer(request: dict[str, Any], calculators: dict[str, Any]) -> dict[str, Any]:
    """Energy, forces and stress of one structure, or why there are none."""
    from ase import Atoms

    teacher = parse_teacher(request["teacher"], request["folder"])
    atoms = Atoms(
        request["symbols"], request["positions"], cell=request["cell"], pbc=request["pbc"], info=request["info"]
    )
    try:
        if teacher.name not in calculators:
            calculators[teacher.name] = teacher.calculator()
        atoms.calc = calculators[teacher.name]
        result = {"energy": float(atoms.get_potential_energy()), "forces": np.asarray(atoms.get_forces()).tolist()}
        result["stress"] = _stress(atoms)
    except Exception as error:  # whatever a teacher raises is its answer to this structure, not the end of the work
        calculators.pop(teacher.name, None)
        return {"error": " ".join(f"{error or type(error).__name__}".split())}
    numbers = [result["energy"], *np.ravel(result["forces"]), *(result["stress"] or [])]
    if not np.isfinite(numbers).all():
        return {"error": "its energy, forces or stress are not finite"}
    return result


def _stress(atoms: Any) -> list[float] | None:
    from ase.calculators.calculator import PropertyNotImplementedError

    if not atoms.pbc.all():
        return None
    try:
        return np.asarray(atoms.get_stress()).tolist()
    except (PropertyNotImplementedError, NotImplementedError):
        return None


if __name__ == "__main__":
    main()
