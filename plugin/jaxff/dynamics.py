"""What `jaxff md` and `jaxff relax` do: one structure, one potential, a trajectory that a second call goes on with."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.io.trajectory import Trajectory
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.optimize import LBFGS

from jax_models.errors import ConfigError, ModelFileError, StructureError

FRICTION_TIME = 100.0
"""fs, in which the thermostat replaces velocities."""
BAROSTAT_TIME = 1000.0
"""fs"""
ERROR = "forces_expected_error"


@dataclass(frozen=True)
class Run:
    """A molecular dynamics run. Units: fs, K, GPa.

    Raises:
        ConfigError: numbers that make no sense together.
    """

    steps: int = 10_000
    timestep: float = 1.0
    temperature: tuple[float, float] = (300.0, 300.0)
    """At the beginning and at the end; between them linear in time."""
    pressure: tuple[float, float] | None = None
    """None: the cell is fixed."""
    ensemble: str = "langevin"
    """``langevin``: constant temperature, and constant pressure where one is given; ``nve``: constant energy, from
    velocities of the first temperature."""
    interval: int = 50
    """Steps between two frames."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.interval < 1:
            raise ConfigError("steps and interval must be 1 or more")
        if not self.timestep > 0:
            raise ConfigError(f"timestep is {self.timestep}; it must be positive (fs)")
        if min(self.temperature) < 0:
            raise ConfigError("temperatures must not be negative (K)")
        if self.ensemble not in ("langevin", "nve"):
            raise ConfigError(f"ensemble is {self.ensemble!r}; it must be langevin or nve")
        if self.ensemble == "nve" and (self.pressure is not None or self.temperature[0] != self.temperature[1]):
            raise ConfigError("a run at constant energy has neither a pressure nor a second temperature")
        if min(self.temperature) == 0 and self.ensemble == "langevin":
            raise ConfigError("a thermostat needs a temperature above 0 K; `jaxff relax` finds the minimum")


@dataclass
class Course:
    """What a run wrote of each frame, for its log and plot."""

    records: list[dict[str, float]]

    def column(self, name: str) -> np.ndarray:
        return np.array([record.get(name, np.nan) for record in self.records])


def run_dynamics(
    atoms: Atoms, calculator: Calculator, run: Run, path: Path, tell: Callable[[dict[str, float]], None] | None = None
) -> Course:
    """Run molecular dynamics of ``atoms`` into the trajectory at ``path``; one that is there already goes on.

    Each frame's ``info`` holds ``step``. Random numbers follow from the seed and the step at which a call begins.

    Args:
        atoms: the start; not changed.
        calculator: gives energies, forces and, with a pressure, stresses.
        run: what to do.
        path: of ASE's trajectory (.traj).
        tell: is given each frame's record.

    Raises:
        ConfigError: ``path`` holds a run of another structure, potential or other settings (its number of steps may
            differ).
        StructureError: the run became unphysical; what was written until then stays.
        ModelFileError: the trajectory cannot be read or written.
    """
    if run.pressure is not None and not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise StructureError("a run at constant pressure needs a structure that is periodic in three directions")
    described = _description(atoms, calculator, {k: v for k, v in asdict(run).items() if k != "steps"})
    frames = _frames_of(path, described)
    if frames:
        current, step = frames[-1].copy(), int(frames[-1].info["step"])
        course = Course([_record(frame, run) for frame in frames])
    else:
        current, step, course = atoms.copy(), 0, Course([])
        if not current.has("momenta"):
            generator = np.random.default_rng([run.seed, 0])
            MaxwellBoltzmannDistribution(current, temperature_K=run.temperature[0], rng=generator)
            Stationary(current)
    current.calc = calculator
    current.info = {"step": step}
    dynamics, adjust = _integrator(current, run, np.random.default_rng([run.seed, step + 1]))
    with _writer(path, described, append=bool(frames)) as trajectory:

        def keep() -> None:
            current.info["step"] = step
            trajectory.write(current)
            course.records.append(_record(current, run))
            if tell is not None:
                tell(course.records[-1])

        if not frames:
            keep()
        while step < run.steps:
            adjust(step / run.steps)
            n = min(run.interval - step % run.interval, run.steps - step)
            dynamics.run(n)
            step += n
            keep()
    return course


def relax_structure(
    atoms: Atoms,
    calculator: Calculator,
    path: Path,
    fmax: float,
    cell: bool,
    steps: int,
    tell: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Atoms, Course, bool]:
    """Relax ``atoms``, and the cell with ``cell``, each step into the trajectory at ``path``; one there goes on.

    Args:
        atoms: the start; not changed.
        calculator: gives energies, forces and, for the cell, stresses.
        path: of ASE's trajectory (.traj).
        fmax: eV/Å.
        cell: whether the cell relaxes too.
        steps: how many are allowed, of all calls together.
        tell: is given each step's record.

    Returns:
        the relaxed structure, the course, and whether ``fmax`` was reached.

    Raises:
        ConfigError: ``path`` holds a relaxation of another structure or potential, or of atoms without the cell.
        StructureError: the structure became unphysical.
    """
    if cell and not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise StructureError("a cell can be relaxed of a structure that is periodic in three directions")
    described = _description(atoms, calculator, {"relax": "cell" if cell else "atoms"})
    frames = _frames_of(path, described)
    current = frames[-1].copy() if frames else atoms.copy()
    current.calc = calculator
    target: Any = FrechetCellFilter(current) if cell else current
    step = int(frames[-1].info["step"]) if frames else 0
    course = Course([_relax_record(frame, int(frame.info["step"]), frame.info["largest_force"]) for frame in frames])
    silent: Any = None
    converged = False
    with _writer(path, described, append=bool(frames)) as trajectory, LBFGS(target, logfile=silent) as optimizer:

        def keep() -> None:
            at = step + optimizer.nsteps
            largest = float((target.get_forces() ** 2).sum(axis=1).max() ** 0.5)
            if frames and optimizer.nsteps == 0:
                return
            current.info = {"step": at, "largest_force": largest}
            trajectory.write(current)
            course.records.append(_relax_record(current, at, largest))
            if tell is not None:
                tell(course.records[-1])

        optimizer.attach(keep)
        converged = bool(optimizer.run(fmax=fmax, steps=max(steps - step, 0)))
    return current, course, converged


def _integrator(
    atoms: Atoms, run: Run, generator: np.random.Generator
) -> tuple[MolecularDynamics, Callable[[float], None]]:
    """The dynamics, and what sets temperature and pressure at a part (0 to 1) of the run."""
    timestep = run.timestep * units.fs
    if run.ensemble == "nve":
        return VelocityVerlet(atoms, timestep), lambda part: None
    between = lambda ends, part: ends[0] + (ends[1] - ends[0]) * part  # noqa: E731
    pressure = None if run.pressure is None else run.pressure[0]
    dynamics, adjust = thermostatted(atoms, run.timestep, run.temperature[0], pressure, generator)

    def ramp(part: float) -> None:
        adjust(between(run.temperature, part), None if run.pressure is None else between(run.pressure, part))

    return dynamics, ramp


def thermostatted(
    atoms: Atoms, timestep: float, temperature: float, pressure: float | None, generator: np.random.Generator
) -> tuple[LangevinBAOAB, Callable[[float, float | None], None]]:
    """Dynamics at constant temperature, and at constant pressure where one is given; the cell keeps its shape.

    Args:
        atoms: with a calculator.
        timestep: fs.
        temperature: K.
        pressure: GPa; None: the cell is fixed.
        generator: of the thermostat's random numbers.

    Returns:
        The dynamics, and a function that sets its temperature (K) and pressure (GPa).
    """
    barostat: dict[str, Any] = {}
    if pressure is not None:
        # ASE's sign: a stress is negative where it compresses.
        barostat = {
            "externalstress": -pressure * units.GPa,
            "hydrostatic": True,
            "P_tau": BAROSTAT_TIME * units.fs,
        }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using heuristic P_mass")
        dynamics = LangevinBAOAB(
            atoms,
            timestep * units.fs,
            temperature_K=temperature,
            T_tau=FRICTION_TIME * units.fs,
            rng=generator,
            **barostat,
        )

    def adjust(temperature: float, pressure: float | None) -> None:
        dynamics.set_temperature(temperature)
        if pressure is not None:
            dynamics.externalstress = np.float64(-pressure * units.GPa)

    return dynamics, adjust


def _record(atoms: Atoms, run: Run) -> dict[str, float]:
    """Of one frame: what the log and the plot show."""
    calc: Any = atoms.calc
    step = int(atoms.info["step"])
    energy, kinetic = float(atoms.get_potential_energy()), float(atoms.get_kinetic_energy())
    record = {
        "step": step,
        "time_ps": 1e-3 * step * run.timestep,
        "temperature_k": float(atoms.get_temperature()),
        "potential_ev": energy,
        "total_ev": energy + kinetic,
    }
    if atoms.cell.rank == 3:
        record["volume_a3"] = float(atoms.get_volume())
    if "stress" in calc.results:
        record["pressure_gpa"] = float(-np.mean(atoms.get_stress(include_ideal_gas=True)[:3]) / units.GPa)
    if ERROR in calc.results:
        record["largest_expected_error_ev_a"] = float(np.max(calc.results[ERROR], initial=0.0))
    return record


def _relax_record(atoms: Atoms, step: int, largest: float) -> dict[str, float]:
    record = {"step": step, "energy_ev": float(atoms.get_potential_energy()), "largest_force_ev_a": float(largest)}
    if atoms.cell.rank == 3:
        record["volume_a3"] = float(atoms.get_volume())
    return record


def _description(atoms: Atoms, calculator: Calculator, settings: dict[str, Any]) -> dict[str, Any]:
    """What a trajectory remembers of its run, to go on only with the same."""
    potential = calculator.todict() if hasattr(calculator, "todict") else {}
    start = {
        "symbols": str(atoms.symbols),
        "positions": np.round(atoms.positions, 8).tolist(),
        "cell": np.round(atoms.cell.array, 8).tolist(),
        "pbc": atoms.pbc.tolist(),
    }
    described = {"jaxff": {"potential": potential.get("sha256", calculator.name), "start": start, **settings}}
    return json.loads(json.dumps(described))


def _frames_of(path: Path, described: dict[str, Any]) -> list[Atoms]:
    """The frames that are there already, of the same run."""
    if not path.exists() or path.stat().st_size == 0:
        return []
    try:
        with Trajectory(path) as trajectory:
            found = trajectory.description
            frames = list(trajectory)
    except Exception as error:  # ASE's reader raises whatever a damaged file leads it to
        raise ModelFileError(f"cannot go on with {path}: {error or type(error).__name__}; name another file") from None
    if found != described:
        ours, theirs = described["jaxff"], (found or {}).get("jaxff", {})
        different = ", ".join(key for key in ours if ours[key] != theirs.get(key)) or "origin"
        raise ConfigError(f"{path} holds a run with another {different}; name another file, or remove that one")
    return frames


def _writer(path: Path, described: dict[str, Any], append: bool) -> Any:
    try:
        trajectory = Trajectory(path, "a" if append else "w")
    except OSError as error:
        raise ModelFileError(f"cannot write {path}: {error.strerror or error}") from None
    if not append:
        trajectory.set_description(described)
    return trajectory
