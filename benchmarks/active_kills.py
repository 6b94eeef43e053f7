"""`jaxff active` killed at random points: what it ends with, beside a run that nobody disturbed.

    python benchmarks/active_kills.py [--kills 20] [--out FOLDER] [--page PAGE.md]

Each kill is a SIGKILL for the command itself (which is then given again), for one of its workers, or for a process
that labels. A run that ends before all kills are used is followed by another from the start. Afterwards: every answer
of the labeller is there, none was given twice, and all files that count are the same, to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

TARGETS = {"command": "jaxff.cli.app", "worker": "multiprocessing", "labeller": "jaxff.knowledge.worker"}
"""What is killed, and what its command line holds."""
PAUSES = (2.0, 25.0)
"""s, between a kill and the next."""
ROUNDS = 3


class SlowEMT(EMT):
    """EMT that takes a while, as labels do."""

    implemented_properties: ClassVar[list[str]] = EMT.implemented_properties

    def calculate(self, *arguments, **named):
        time.sleep(0.3)
        super().calculate(*arguments, **named)


RUN = {
    "out": "run",
    "structures": ["cu.xyz"],
    "labeller": {"ase": "active_kills.SlowEMT"},
    "explore": [
        {
            "name": "hot", "atoms": 8, "replicas": 2,
            "temperature": [300, 900], "steps": 60, "interval": 10, "timestep": 3,
        },
        {"name": "shapes", "atoms": 8, "families": ["strain", "vacancy"], "number": 5},
    ],
    "goal": {"error": 0.001, "rounds": ROUNDS, "patience": ROUNDS},
    "select": {"per_round": 8},
    "train": {
        "training.epochs": 6, "model.cutoff": 3.5, "model.descriptor.l_max": 1, "model.descriptor.n_channels": 4,
        "model.descriptor.n_radial": 4, "training.heads": 2,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="an empty folder; a temporary one where none is given")
    parser.add_argument("--page", type=Path, help="Markdown to write the result to")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = given.out or Path(place)
        calm = prepared(root / "calm")
        started = time.time()
        command(calm).wait()
        seconds = time.time() - started
        generator = np.random.default_rng(given.seed)
        used: Counter[str] = Counter()
        problems: list[str] = []
        runs = 0
        while used.total() < given.kills and not problems:
            runs += 1
            folder = prepared(root / f"killed-{runs}")
            disturb(folder, given.kills, used, generator)
            problems += differences(calm / "run", folder / "run")
        text = page(given.kills, used, runs, seconds, len(answers(calm / "run")), problems)
    print(text)
    if given.page:
        given.page.write_text(text)
    sys.exit(bool(problems))


def prepared(folder: Path) -> Path:
    folder.mkdir(parents=True)
    write(folder / "cu.xyz", bulk("Cu", cubic=True))
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN))
    return folder


def command(folder: Path) -> subprocess.Popen:
    paths = os.pathsep.join([str(Path(__file__).parent.resolve()), os.environ.get("PYTHONPATH", "")])
    with (folder / "printed").open("a") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "jaxff.cli.app", "active", "run.yaml"], cwd=folder, stdout=printed,
            stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip


def disturb(folder: Path, kills: int, used: Counter[str], generator: np.random.Generator) -> None:
    """One run from beginning to end, with kills until they are used up."""
    process = command(folder)
    while process.poll() is None:
        if used.total() == kills:
            process.wait()
            break
        target = str(generator.choice(list(TARGETS)))
        time.sleep(float(generator.uniform(*PAUSES)))
        victim = waited_for(target, process)
        if victim is None:
            continue
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
        used[target] += 1
        print(f"kill {used.total()}: {target}, {len(answers(folder / 'run'))} answers", flush=True)
        if victim == process.pid:
            process.wait()
            process = command(folder)


def waited_for(target: str, process: subprocess.Popen) -> int | None:
    """The number of such a process as soon as there is one; None if the run ends before."""
    if target == "command":
        return process.pid if process.poll() is None else None
    while process.poll() is None:
        found = [pid for pid, line in family(process.pid) if TARGETS[target] in line and "resource_tracker" not in line]
        if found:
            return found[-1]
        time.sleep(0.05)
    return None


def family(parent: int) -> Iterator[tuple[int, str]]:
    """Processes that descend from one, with their command lines."""
    try:
        children = Path(f"/proc/{parent}/task").glob("*/children")
        for child in " ".join(path.read_text() for path in children).split():
            line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            yield int(child), line
            yield from family(int(child))
    except OSError:
        return


def answers(folder: Path) -> list[str]:
    """Questions that the labeller answered, as often as it did."""
    found = []
    for path in folder.glob("round-*/*/*.jsonl"):
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # half a line, where a writer was killed
            found += [entry["key"]] if "error" not in entry else []
    return found


def differences(calm: Path, killed: Path) -> list[str]:
    """What the two runs do not have in common."""
    import equinox as eqx

    from jax_models import Potential
    from jaxff.active.folder import identity

    if not (killed / "model.jaxff").exists():
        return [f"{killed} did not end: {(killed.parent / 'printed').read_text().splitlines()[-1]}"]
    found = []
    once, other = answers(killed), answers(calm)
    found += [f"{len(once) - len(set(once))} labels were asked for twice"] if len(once) > len(set(once)) else []
    found += [f"{len(set(other) - set(once))} labels are missing"] if set(other) - set(once) else []
    found += [f"{len(set(once) - set(other))} labels too many"] if set(once) - set(other) else []
    names = [
        "beginning.xyz",
        *(f"round-{n:03d}/{name}.xyz" for n in range(ROUNDS) for name in ("selected", "labelled")),
    ]
    for name in names:
        if (calm / name).read_bytes() != (killed / name).read_bytes():
            ids = [{identity(atoms) for atoms in read(place / name, ":")} for place in (calm, killed)]
            found.append(f"{name} differs" + ("" if ids[0] == ids[1] else ", and holds other structures"))
    first, second = (Potential.load(place / "model.jaxff") for place in (calm, killed))
    if not eqx.tree_equal(first.model, second.model):
        found.append("the last potentials differ")
    return found


def page(kills: int, used: Counter[str], runs: int, seconds: float, labels: int, problems: list[str]) -> str:
    killed = ", ".join(f"{used[target]} of a {target}" for target in TARGETS)
    return "\n".join([
        "# `jaxff active`, killed", "",
        f"`python benchmarks/active_kills.py --kills {kills}` wrote this page.", "",
        f"An undisturbed run of {ROUNDS} rounds and {labels} labels took {seconds:.0f} s. {kills} kills ({killed}) in "
        f"{runs} run{'s' * (runs > 1)} at random points, each taken up again:", "",
        *([f"- {problem}" for problem in problems] or [
            f"- all {labels} labels are there, and none was asked for twice;",
            "- structures selected and labelled in each round are the same, byte for byte;",
            "- the last potential is the same, bit for bit."]), "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
