"""The demo, step by step: what is done, in the order in which it is done."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import write
from rich.console import Console

from jax_models import JaxffError
from jaxff.ase import JaxffCalculator
from jaxff.demo.crystals import silicon, training_structures, vacancy_hop
from jaxff.demo.dynamics import Trajectory, hot_crystal, read_lammps_log, run_in_ase, write_lammps_input
from jaxff.demo.labels import label, stillinger_weber
from jaxff.evaluation import Evaluation, evaluate, labels_of
from jaxff.properties.barrier import Barrier, find_barrier
from jaxff.properties.elastic import Elastic, elastic_constants
from jaxff.properties.relaxation import relax

N_STEPS = 7
EPOCHS = 60
CUTOFF = 4.0
"""Å: the reference ends at 3.77. What reaches further has to be learned as zero."""


@dataclass
class Results:
    """All that the demo found; pairs are (jaxff, Stillinger-Weber)."""

    folder: Path
    n_training: int = 0
    n_training_atoms: int = 0
    evaluation: Evaluation = field(init=False)
    lattice: tuple[float, float] = (np.nan, np.nan)
    trajectories: dict[str, Trajectory] = field(default_factory=dict)
    elastic: dict[str, Elastic] = field(default_factory=dict)
    barriers: dict[str, Barrier] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Steps:
    """Tells what is being done, and how long it took."""

    def __init__(self, console: Console, seconds: dict[str, float]):
        self.console = console
        self.seconds = seconds

    @contextmanager
    def step(self, name: str, text: str, live: bool = True) -> Iterator[None]:
        """Announce a step; ``live`` shows a spinner, for steps that print nothing of their own."""
        self.console.print(f"[bold]{len(self.seconds) + 1}/{N_STEPS}[/bold] {text}", highlight=False)
        start = time.perf_counter()
        if live:
            with self.console.status("working"):
                yield
        else:
            yield
        self.seconds[name] = time.perf_counter() - start
        self.console.print(f"    done in {self.seconds[name]:.1f} s")


def run_demo(folder: Path, console: Console, seed: int = 0) -> Results:
    """Everything that `jaxff demo` does, into ``folder``.

    Raises:
        JaxffError: a step fails; the text says which command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder)
    steps = Steps(console, results.seconds)
    with steps.step(
        "structures", "Making silicon structures; LAMMPS labels them with the empirical Stillinger-Weber potential."
    ):
        test = make_data(results, seed)
    with steps.step("training", f"Training on {results.n_training} of them, {folder / 'train.xyz'}.", live=False):
        settings = ["--epochs", str(EPOCHS), "--set", f"model.cutoff={CUTOFF}"]
        command(["train", "train.xyz", "--out", "si.jaxff", *settings], folder, console)
    model = JaxffCalculator(folder / "si.jaxff", "double")
    reference = stillinger_weber()
    with steps.step("evaluation", f"Comparing with {len(test)} structures that were not trained on."):
        results.evaluation = evaluate(
            [labels_of(atoms, f"test structure {n}") for n, atoms in enumerate(test)],
            JaxffCalculator(folder / "si.jaxff"),
        )
    with steps.step("ase", "ASE: relaxing a strained crystal, then 1 ps of NVE at 300 K with 216 atoms."):
        crystals = [relaxed_crystal(calculator) for calculator in (model, reference)]
        of_model, of_reference = (float(crystal.cell.lengths()[0]) for crystal in crystals)
        results.lattice = of_model, of_reference
        start = hot_crystal(silicon(3, results.lattice[0]), 300.0, seed)
        results.trajectories["ASE"] = run_in_ase(start, model)
        results.trajectories["Stillinger-Weber"] = run_in_ase(start, reference)
    with steps.step("lammps", "LAMMPS: the same atoms and velocities through pair_style jaxff.", live=False):
        write_lammps_input(start, folder)
        command(["lmp", "-in", "in.nve", "-screen", "none"], folder, console)
        results.trajectories["LAMMPS"] = read_lammps_log(folder / "log.lammps", len(start))
    with steps.step("elastic", "Elastic constants, with atoms relaxing inside strained cells."):
        for name, calculator in (("jaxff", model), ("Stillinger-Weber", reference)):
            results.elastic[name] = elastic_constants(with_calculator(silicon(1), calculator))
    with steps.step("barrier", "A vacancy hop: climbing-image NEB with 5 images between relaxed ends."):
        for name, calculator in (("jaxff", model), ("Stillinger-Weber", reference)):
            results.barriers[name] = find_barrier(*vacancy_hop(), calculator, images=5, fmax=0.02)
    return results


def make_data(results: Results, seed: int) -> list[Atoms]:
    """``train.xyz`` and ``test.xyz``; returns the test structures."""
    train, test = (label(part) for part in training_structures(stillinger_weber(), seed))
    results.n_training, results.n_training_atoms = len(train), sum(map(len, train))
    write(results.folder / "train.xyz", train, format="extxyz")
    write(results.folder / "test.xyz", test, format="extxyz")
    return test


def relaxed_crystal(calculator: Calculator) -> Atoms:
    """The crystal that ``calculator`` relaxes to from a strained start: one conventional cell."""
    atoms = silicon(1)
    atoms.set_cell(atoms.cell.array * [1.01, 1.02, 0.99], scale_atoms=True)
    atoms.rattle(0.02, seed=0)
    atoms.calc = calculator
    relax(atoms, fmax=1e-4, cell=True)
    return atoms


def with_calculator(atoms: Atoms, calculator: Calculator) -> Atoms:
    atoms.calc = calculator
    return atoms


def command(arguments: list[str], folder: Path, console: Console) -> None:
    """Run `jaxff ...` in ``folder``, as a user would type it there.

    Raises:
        JaxffError: it fails.
    """
    console.print(f"    $ jaxff {shlex.join(arguments)}", style="cyan", highlight=False)
    done: Any = subprocess.run([sys.executable, "-m", "jaxff.cli.app", *arguments], cwd=folder)
    if done.returncode:
        raise JaxffError(f"`jaxff {shlex.join(arguments)}` in {folder} ended with status {done.returncode}")
