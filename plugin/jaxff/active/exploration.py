"""Tasks that meet new structures: dynamics in ASE, structures made at random. Each leaves its frames and a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.build import surface
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from jax_models.errors import ConfigError, StructureError
from jaxff.active.folder import write_frames, write_record
from jaxff.active.settings import Exploration
from jaxff.dynamics import thermostatted
from jaxff.knowledge.snapshots import named
from jaxff.knowledge.structure_families import VACUUM, Recipe, disordered, make_structures, supercell

if TYPE_CHECKING:
    from jaxff import JaxffCalculator

KEPT = 12
"""Frames of a run that are looked at for labelling, evenly spread; and the one in which it was stopped."""
HOT = 20.0
"""Times the temperature asked for: what is hotter has lost its physics."""
ERROR, GRADE = "forces_expected_error", "extrapolation_grade"


def explore(
    potential: str, exploration: Exploration, starts: Sequence[Atoms], seeds: list[int], stop_above: float, out: Path
) -> dict[str, Any]:
    """One run of ``exploration``, or all structures of its families, into ``out`` and ``out``'s .json; done before, it
    is not done again.

    Args:
        stop_above: eV/Å; a run is stopped where a force is expected to be more wrong.

    Returns:
        ``name``, ``steps``, ``stopped`` (why, or ""), ``highest`` expected error (eV/Å), and of all atoms seen the
        expected errors at ``quantiles`` 0, 0.01, ... 1.
    """
    record_path = out.with_suffix(".json")
    if record_path.exists():
        from jaxff.active.folder import read_record

        return read_record(record_path)
    from jaxff import JaxffCalculator

    calculator = JaxffCalculator(potential)
    generator = np.random.default_rng(seeds)
    try:
        if exploration.families:
            # Others in each round, or they would be explored once only.
            seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
            made = make_structures(
                starts, exploration.families, exploration.number, seed, Recipe(atoms=exploration.atoms)
            )
            # They do not follow from each other: there is no run that could be stopped.
            seen = Seen(calculator, float("inf"))
            for atoms in made:
                seen.look(named(atoms, exploration.name), 0)
        else:
            seen = _dynamics(calculator, exploration, starts, generator, stop_above)
    except StructureError as error:
        seen = Seen(calculator, stop_above)
        seen.stopped = str(error)
    frames = seen.frames if exploration.families else seen.spread(KEPT)
    for frame in frames:
        frame.info["config_type"] = exploration.name
    record = {
        "name": exploration.name,
        "steps": seen.steps,
        "stopped": seen.stopped,
        "highest": seen.highest,
        "quantiles": seen.quantiles(),
    }
    write_frames(out, frames)
    write_record(record_path, record)
    return record


class Seen:
    """The frames of a run, and their expected errors.

    Attributes:
        stopped: why the run ended early; empty where it did not.
    """

    def __init__(self, calculator: JaxffCalculator, stop_above: float):
        self.calculator, self.stop_above = calculator, stop_above
        self.frames: list[Atoms] = []
        self.stopped, self.steps, self.highest = "", 0, 0.0
        self._errors: list[np.ndarray] = []

    def look(self, atoms: Atoms, step: int) -> bool:
        """Keep a copy of ``atoms``; whether the run may go on."""
        self.steps = step
        frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        try:
            errors = self.calculator.get_property(ERROR, atoms)
        except StructureError as error:
            # Nothing can be labelled where atoms sit on top of each other; the frames before it can.
            self.stopped = f"unphysical at step {step}: {error}"
            return False
        frame.arrays[ERROR], frame.arrays[GRADE] = np.array(errors), np.array(self.calculator.results[GRADE])
        self.frames.append(frame)
        self._errors.append(frame.arrays[ERROR])
        highest = float(errors.max(initial=0.0))
        self.highest = max(self.highest, highest)
        if highest > self.stop_above:
            self.stopped = f"expected error {highest:.3g} eV/Å at step {step}"
        return not self.stopped

    def spread(self, number: int) -> list[Atoms]:
        """``number`` frames evenly from first to last, the last among them."""
        if not self.frames:
            return []
        places = np.unique(np.linspace(0, len(self.frames) - 1, min(number, len(self.frames))).round().astype(int))
        return [self.frames[place] for place in places]

    def quantiles(self) -> list[float]:
        """Of the expected errors of all atoms seen, in hundredths."""
        if not self._errors:
            return []
        return np.quantile(np.concatenate(self._errors), np.linspace(0, 1, 101)).tolist()


def start_of(exploration: Exploration, crystals: Sequence[Atoms], generator: np.random.Generator) -> Atoms:
    """What a run starts from: a crystal, repeated, cut and with atoms taken out as the exploration says; a molecule or
    another structure that is not periodic as it is.

    Raises:
        ConfigError: a surface, pressure or disorder of what is not periodic.
    """
    crystal = crystals[int(generator.integers(len(crystals)))]
    of_crystals = exploration.surface is not None or exploration.pressure is not None or exploration.disordered
    if of_crystals and not crystal.pbc.all():
        raise ConfigError(
            f"exploration {exploration.name}: surface, pressure and disordered need a crystal to start from, and "
            f"{crystal.get_chemical_formula()} is not periodic in three directions"
        )
    if exploration.surface is not None:
        slab = surface(crystal, exploration.surface, 1)
        layers = max(1, -(-exploration.atoms // len(slab)))
        # As wide as it is thick, so that neither is small.
        width = max(1, round((layers * slab.cell.lengths()[2] / max(slab.cell.lengths()[:2])) ** (1 / 3)))
        atoms = surface(crystal, exploration.surface, max(1, -(-layers // width**2)) + 1, vacuum=VACUUM)
        atoms = atoms * (width, width, 1)
        atoms.pbc = True
    elif crystal.pbc.all():
        atoms = supercell(crystal, exploration.atoms)
    else:
        atoms = crystal.copy()
    for _ in range(min(exploration.vacancies, len(atoms) - 1)):
        del atoms[int(generator.integers(len(atoms)))]
    return disordered(atoms, generator, Recipe()) if exploration.disordered else atoms


def ramp(values: Sequence[float], part: float) -> float:
    """The value a ``part`` (0 to 1) of the way through ``values``, linearly from one to the next.

    Example:
        >>> ramp([300.0, 1500.0, 300.0], 0.25)
        900.0
    """
    return float(np.interp(part * (len(values) - 1), np.arange(len(values)), values))


def _dynamics(
    calculator: JaxffCalculator,
    exploration: Exploration,
    crystals: Sequence[Atoms],
    generator: np.random.Generator,
    stop_above: float,
) -> Seen:
    atoms = start_of(exploration, crystals, generator)
    atoms.positions += generator.normal(scale=0.02, size=atoms.positions.shape)
    atoms.calc = calculator
    temperatures, pressures = exploration.temperature, exploration.pressure
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperatures[0], rng=generator)
    first = None if pressures is None else pressures[0]
    dynamics, adjust = thermostatted(atoms, exploration.timestep, temperatures[0], first, generator)
    seen = Seen(calculator, stop_above)
    for step in range(0, exploration.steps + 1, exploration.interval):
        if not seen.look(atoms, step):
            break
        if atoms.get_temperature() > HOT * max(temperatures):
            seen.stopped = f"unphysical at step {step}: {atoms.get_temperature():.0f} K"
            break
        if step >= exploration.steps:
            break
        part = step / exploration.steps
        adjust(ramp(temperatures, part), None if pressures is None else ramp(pressures, part))
        dynamics.run(exploration.interval)
    return seen
