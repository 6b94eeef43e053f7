"""A process that labels structures: one JSON line in, one out. What kills it does not kill the labelling.

python -m jaxff.knowledge.worker NOISE_FILE
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxff.knowledge.teachers import parse_teacher


def main() -> None:
    """Answer requests until there are no more; whatever teachers print goes to NOISE_FILE."""
    answers = os.fdopen(os.dup(1), "w")
    noise = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    scratch = Path(sys.argv[1]).parent
    threading.Thread(target=_end_with, args=(os.getppid(), scratch), daemon=True).start()
    calculators: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), calculators, scratch)), file=answers, flush=True)


def _end_with(parent: int, scratch: Path) -> None:
    """Nobody waits for the answer once the parent is gone: end this process, and the DFT code that it runs."""
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(scratch, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def answer(request: dict[str, Any], calculators: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Energy, forces and stress of one structure, or why there are none."""
    from ase import Atoms

    teacher = parse_teacher(request["teacher"], request["folder"])
    atoms = Atoms(
        request["symbols"], request["positions"], cell=request["cell"], pbc=request["pbc"], info=request["info"]
    )
    try:
        if teacher.name not in calculators:
            calculators[teacher.name] = _in_a_place_of_its_own(teacher.calculator(), Path(teacher.folder), scratch)
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


def _in_a_place_of_its_own(calculator: Any, folder: Path, scratch: Path) -> Any:
    """Calculators that write files, each in its own directory: processes with one would read each other's.

    Args:
        folder: from where a ``directory`` that the settings name is counted; its files stay.
        scratch: where files are written that nobody asked to keep.
    """
    directory = getattr(calculator, "directory", None)
    if directory is not None:
        kept = Path(directory) != Path(".")
        own = f"{socket.gethostname()}-{os.getpid()}"
        place = (folder / directory if kept else scratch.resolve()) / own
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(AttributeError):  # one that cannot be told where to write
            calculator.directory = place
    return calculator


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
