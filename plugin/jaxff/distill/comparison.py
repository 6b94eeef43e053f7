"""Student beside teacher: errors in every state that was explored, properties, the liquid's structure, speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from jax_models.errors import JaxffError
from jaxff.knowledge.structure_families import supercell
from jaxff.properties.elastic import elastic_constants
from jaxff.properties.equation_of_state import equation_of_state
from jaxff.properties.phonons import phonons
from jaxff.properties.radial_distribution import radial_distributions
from jaxff.properties.vacancy import vacancy

EQUILIBRATION, SAMPLING, APART = 300, 1000, 10
"""Steps of the liquid's dynamics, and between two snapshots of it."""
SIZES = (64, 1000)
"""Atoms for which the speed is measured."""


def state_errors(states: Mapping[str, Sequence[Atoms]], student: Calculator, teacher: Calculator) -> dict[str, Any]:
    """Of each state: root mean square errors of forces (eV/Å), energies (meV/atom) and stresses (GPa), the root mean
    square force itself, and the errors' part of it. Frames that the teacher cannot evaluate are left out and counted.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, frames in states.items():
        rows: dict[str, list[np.ndarray]] = {"force": [], "true": [], "energy": [], "stress": []}
        failed = 0
        for frame in frames:
            try:
                theirs, ours = _labels(frame, teacher), _labels(frame, student)
            except JaxffError:
                failed += 1
                continue
            rows["force"].append((ours["forces"] - theirs["forces"]).ravel())
            rows["true"].append(theirs["forces"].ravel())
            rows["energy"].append(np.array([1e3 * (ours["energy"] - theirs["energy"]) / len(frame)]))
            rows["stress"].append((ours["stress"] - theirs["stress"]) / units.GPa)
        if not rows["true"]:
            found[name] = {"frames": 0, "failed": failed}
            continue
        rms = {quantity: float(np.sqrt(np.mean(np.concatenate(values) ** 2))) for quantity, values in rows.items()}
        found[name] = {
            "frames": len(rows["true"]),
            "failed": failed,
            "force_rms_ev_a": rms["true"],
            "force_rmse_ev_a": rms["force"],
            "force_error_part": rms["force"] / max(rms["true"], 1e-12),
            "energy_rmse_mev_atom": rms["energy"],
            "stress_rmse_gpa": rms["stress"],
        }
    return found


def _labels(frame: Atoms, calculator: Calculator) -> dict[str, Any]:
    atoms = frame.copy()
    atoms.calc = calculator
    return {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}


def properties(crystal: Atoms, calculator: Calculator) -> dict[str, Any]:
    """Of a crystal: volume (Å³/atom), bulk modulus and elastic constants (GPa), phonon bands (THz), and for an element
    the formation energy of a vacancy (eV); what could not be computed is the text of why."""
    atoms = crystal.copy()
    atoms.calc = calculator
    found: dict[str, Any] = {}

    def tried(name: str, compute: Callable[[], dict[str, Any]]) -> None:
        try:
            found.update(compute())
        except JaxffError as error:
            found[name] = str(error)

    def state() -> dict[str, Any]:
        result = equation_of_state(atoms, points=7)
        return {"volume": result.volume, "bulk_modulus": result.bulk_modulus}

    def bands() -> dict[str, Any]:
        result = phonons(atoms, points=10)
        return {"bands": [piece.tolist() for piece in result.bands], "highest_frequency": result.highest}

    tried("volume", state)
    tried("elastic", lambda: {"elastic": elastic_constants(atoms, fmax=1e-3).constants.tolist()})
    tried("highest_frequency", bands)
    if len(set(crystal.numbers)) == 1:
        tried("vacancy", lambda: {"vacancy": vacancy(crystal, calculator, images=1, fmax=0.03).formation_energy})
    return found


def property_rows(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the table says of each property: student, teacher, and how far they are apart in per cent."""
    rows = []

    def row(label: str, a: Any, b: Any, off: float | None = None) -> None:
        both = isinstance(a, float) and isinstance(b, float)
        if both and off is None:
            off = 100.0 * (a - b) / b if b else None
        rows.append({"structure": name, "property": label, "student": a, "teacher": b, "off_percent": off})

    for key, label in (
        ("volume", "volume, Å³/atom"),
        ("bulk_modulus", "bulk modulus, GPa"),
        ("highest_frequency", "highest phonon, THz"),
        ("vacancy", "vacancy, eV"),
    ):
        if key in ours or key in theirs:
            row(label, ours.get(key, ""), theirs.get(key, ""))
    if isinstance(ours.get("elastic"), list) and isinstance(theirs.get("elastic"), list):
        c, d = np.array(ours["elastic"]), np.array(theirs["elastic"])
        for i, j in ((0, 0), (0, 1), (3, 3)):
            row(f"C{i + 1}{j + 1}, GPa", float(c[i, j]), float(d[i, j]))
    if "bands" in ours and "bands" in theirs:
        pieces = zip(ours["bands"], theirs["bands"], strict=True)
        squares = [np.ravel(np.square(np.subtract(a, b))) for a, b in pieces if np.shape(a) == np.shape(b)]
        if squares:
            off = float(np.sqrt(np.mean(np.concatenate(squares))))
            row("phonons, RMS difference, THz", off, 0.0, 100.0 * off / float(theirs["highest_frequency"]))
    return rows


def liquid(start: Atoms, calculator: Calculator, temperature: float, timestep: float, seed: int) -> dict[str, list]:
    """g(r) of each pair of elements at ``temperature`` (K), from molecular dynamics at fixed volume.

    Raises:
        StructureError: the dynamics became unphysical.
    """
    atoms = start.copy()
    atoms.calc = calculator
    generator = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=generator)
    step = timestep * units.fs
    dynamics = Langevin(atoms, step, temperature_K=temperature, friction=0.02 / units.fs, rng=generator, fixcm=False)
    dynamics.run(EQUILIBRATION)
    frames = []
    for _ in range(SAMPLING // APART):
        dynamics.run(APART)
        frames.append(Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True))
    return {name: g.tolist() for name, g in radial_distributions(frames).items()}


def speed(crystal: Atoms, calculator: Calculator, repeats: int = 5) -> dict[str, float]:
    """µs an atom and step in ASE, for crystals of about `SIZES` atoms: the median of ``repeats``."""
    found = {}
    for size in SIZES:
        atoms = supercell(crystal, size)
        atoms.calc = calculator
        generator, times = np.random.default_rng(0), []
        atoms.get_forces()
        for _ in range(repeats):
            atoms.positions += generator.normal(scale=1e-3, size=atoms.positions.shape)
            started = time.perf_counter()
            atoms.get_forces()
            times.append(time.perf_counter() - started)
        found[str(len(atoms))] = 1e6 * float(np.median(times)) / len(atoms)
    return found
