"""A user's LAMMPS script as an exploration: with a dump, and a halt where an expected error becomes too large."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

from jax_models.errors import ConfigError
from jaxff.active.exploration import ERROR, GRADE, KEPT
from jaxff.active.folder import read_record, write_frames, write_record
from jaxff.active.settings import Exploration

COEFF = re.compile(r"^\s*pair_coeff\b.*\.jaxff\b.*|^\s*pair_coeff\b.*\$\{potential\}.*", re.MULTILINE)
WATCH = """
# added by jaxff active
compute JAXFF_errors all pair jaxff
variable JAXFF_largest equal c_JAXFF_errors[1]
fix JAXFF_atoms all pair {interval} jaxff uncertainty 1 grade 1
fix JAXFF_halt all halt {interval} v_JAXFF_largest > {limit} error soft
dump JAXFF_frames all custom {interval} {dump} id element x y z f_JAXFF_atoms[1] f_JAXFF_atoms[2]
dump_modify JAXFF_frames element {elements} sort id format float %.9g pbc yes
"""


def explore_in_lammps(
    potential: str, exploration: Exploration, script: Path, variables: dict[str, str], limit: float, out: Path
) -> dict[str, Any]:
    """As `jaxff.active.exploration.explore`, by a script of the user's that names ``${potential}`` in its pair_coeff.

    Raises:
        ConfigError: the script has no such pair_coeff line.
    """
    record_path = out.with_suffix(".json")
    if record_path.exists():
        return read_record(record_path)
    text = script.read_text()
    lines = list(COEFF.finditer(text))
    if not lines:
        raise ConfigError(f"{script} needs a line `pair_coeff * * ${{potential}} El1 El2 ...` for pair_style jaxff")
    elements = [word for word in lines[-1].group().split("#")[0].split()[4:]]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".lammps-") as place:
        dump = Path(place, "frames.dump")
        watch = WATCH.format(interval=exploration.interval, limit=limit, dump=dump, elements=" ".join(_named(elements)))
        watched = Path(place, "in.watched")
        watched.write_text(text[: lines[-1].end()] + watch + text[lines[-1].end() :])
        given = [
            word for name, value in {"potential": potential, **variables}.items() for word in ("-var", name, value)
        ]
        done = subprocess.run(
            [sys.executable, "-m", "jaxff.cli.app", "lmp", "-in", str(watched), "-log", "none", *given],
            cwd=script.parent, capture_output=True, text=True,
        )  # fmt: skip
        frames = _frames(dump, exploration.name)
        (out.with_suffix(".log")).write_text(done.stdout + done.stderr)
    errors = np.concatenate([frame.arrays[ERROR] for frame in frames]) if frames else np.zeros(0)
    highest = float(errors.max(initial=0.0))
    stopped = f"expected error {highest:.3g} eV/Å" if highest > limit else ""
    if done.returncode:
        stopped = f"LAMMPS ended with an error: {_last_error(done.stdout + done.stderr)}"
    record = {
        "name": exploration.name,
        "steps": exploration.interval * max(len(frames) - 1, 0),
        "stopped": stopped,
        "highest": highest,
        "quantiles": np.quantile(errors, np.linspace(0, 1, 101)).tolist() if len(errors) else [],
    }
    places: Any = (
        np.unique(np.linspace(0, len(frames) - 1, min(KEPT, len(frames))).round().astype(int)) if frames else []
    )
    write_frames(out, [frames[place] for place in places])
    write_record(record_path, record)
    return record


def _named(elements: list[str]) -> list[str]:
    return ["X" if element == "NULL" else element for element in elements]


def _frames(dump: Path, name: str) -> list[Atoms]:
    """What the dump holds; the last frame may be half a frame where LAMMPS failed."""
    if not dump.exists():
        return []
    try:
        found: Any = read(dump, ":", format="lammps-dump-text")
    except Exception:  # ASE's reader raises what it stumbles over
        return []
    frames = []
    for atoms in found:
        frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        frame.arrays[ERROR] = np.ravel(atoms.arrays["f_JAXFF_atoms[1]"])
        frame.arrays[GRADE] = np.ravel(atoms.arrays["f_JAXFF_atoms[2]"])
        frame.info["config_type"] = name
        frames.append(frame)
    return frames


def _last_error(text: str) -> str:
    errors = [line for line in text.splitlines() if "ERROR" in line or "jaxff: error" in line]
    return errors[-1] if errors else "see its log"
