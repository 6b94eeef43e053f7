"""Labels looked at before training: units, signs, outliers. Each suspicion names frames and the likely cause.

What can be checked without a model is physics: along a small step the energy changes by minus force times displacement,
and by virial times strain; stretched bonds pull, and expanded cells are under tension.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jax_models.neighborhood import neighbor_pairs
from jax_models.training.data.duplicates import equal_structures
from jax_models.training.data.structures import Structure, elements_of

NAMED = 3
"""Frames that a warning names; the others are counted."""
LOOKED_AT = 300
"""Structures of one composition that are compared with each other, and that bonds are measured in."""
PAIRS = 150
SURE = 0.85
"""Correlation with the energies from which on a slope means something."""
AGREEMENT = 1.6
"""A slope within this factor of 1 is right: real steps are not infinitely small."""
KCAL = 23.0605
FACTORS = {
    "kcal/mol": KCAL,
    "kJ/mol": 96.4853,
    "Hartree": 1 / 27.2114,
    "Rydberg": 1 / 13.6057,
    "Hartree/Bohr": 1 / 51.4221,
    "Rydberg/Bohr": 1 / 25.7110,
    "meV": 1000.0,
}
"""How large a number is in other units that is 1 in eV or eV/Å."""
STRESS_FACTORS = {"kbar": 1602.1766, "GPa": 160.21766}
STIFF = 250.0
"""eV/Å^2; twice the force constant of the stiffest bonds, of H2 and CO."""
HUGE_STRESS = 1.0
"""eV/Å^3 = 160 GPa; larger than in any planet's rock."""


@dataclass(frozen=True)
class Suspicion:
    """Something wrong with labels: what, likely why, and the frames."""

    text: str
    frames: tuple[str, ...]

    def __str__(self) -> str:
        if not self.frames:
            return self.text
        more = f" and {len(self.frames) - NAMED} more" if len(self.frames) > NAMED else ""
        return f"{self.text} ({', '.join(self.frames[:NAMED])}{more})"


def suspicions(structures: Sequence[Structure]) -> list[Suspicion]:
    """All that looks wrong in the labels of ``structures``; an empty list for sound data.

    Energies in eV, forces in eV/Å and virials in eV are expected. Structures have passed `structures.check`.
    """
    bound = [s for s in structures if not s.isolated]
    found = [*charges(structures), *_disagreeing_copies(structures), *zero_forces(bound)]
    outliers = [*energy_outliers(bound), *force_outliers(bound)]
    odd = {name for suspicion in (*found, *outliers) for name in suspicion.frames}
    # One wrong frame must not decide on the units of all others.
    sound = [s for s in bound if s.name not in odd]
    return [*found, *outliers, *units_and_signs(sound)]


def charges(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Frames with a net charge: a potential of positions alone has one energy for a structure, whatever its charge."""
    charged = [s for s in structures if s.charge]
    if charged:
        values = ", ".join(f"{q:+g}" for q in sorted({s.charge for s in charged}))
        yield Suspicion(
            f"{len(charged)} of {len(structures)} frames carry a net charge ({values}), which the potential cannot see: "
            "its energies mix those of different charges; remove them, or train on one charge",
            _names(charged),
        )


def zero_forces(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Forces that are exactly zero where no symmetry makes them so."""
    empty = [s for s in structures if s.forces is not None and len(s) > 1 and not np.any(s.forces)]
    wrong = [s for s in empty if not _symmetric(s)]
    if wrong:
        yield Suspicion(
            f"{len(wrong)} frames have forces that are all exactly zero, although no symmetry makes them vanish: forces "
            "were probably not computed; remove them, or label them again",
            _names(wrong),
        )


def _symmetric(s: Structure) -> bool:
    """Whether the neighbours of every atom pull it equally to all sides."""
    i, j, shifts = neighbor_pairs(s.positions, s.cell, s.periodic, 5.0)
    vectors = s.positions[j] - s.positions[i] + shifts @ s.cell
    r = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-3)
    pull = np.zeros((len(s), 3))
    np.add.at(pull, i, vectors / r * (1 - r / 5.0) ** 3)
    return bool(np.abs(pull).max(initial=0.0) < 1e-3)


def energy_outliers(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Energies per atom far from what the composition and the other frames say."""
    if len(structures) < 5:
        return
    elements = elements_of(structures)
    fractions = np.array([[s.symbols.count(e) / len(s) for e in elements] for s in structures])
    energies = np.array([s.energy / len(s) for s in structures])
    weights = np.ones(len(energies))
    for _ in range(30):  # least absolute deviations: an outlier does not drag the fit along
        fit = np.linalg.lstsq(fractions * weights[:, None], energies * weights, rcond=1e-8)[0]
        left = energies - fractions @ fit
        weights = 1.0 / np.sqrt(np.maximum(np.abs(left), 1e-4))
    left = left - np.median(left)
    spread = 1.4826 * np.median(np.abs(left))
    limit = max(20 * spread, 0.2)
    wrong = [s for s, e in zip(structures, left, strict=True) if abs(e) > limit]
    if wrong:
        far = max(np.abs(left))
        yield Suspicion(
            f"{len(wrong)} frames have an energy up to {far:.3g} eV/atom from that of the others of their composition "
            f"(usual spread {max(spread, 1e-3):.2g}): a calculation that did not converge, another unit, or other "
            "settings of the reference method",
            _names(wrong),
        )


def force_outliers(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Forces far above those of the other frames."""
    labelled = [s for s in structures if s.forces is not None and len(s) > 1]
    if not labelled:
        return
    largest = np.array([np.linalg.norm(s.forces, axis=1).max() for s in labelled])
    limit = max(25 * np.median(largest), 50.0)
    wrong = [s for s, f in zip(labelled, largest, strict=True) if f > limit]
    if wrong and len(wrong) < 0.5 * len(labelled):
        yield Suspicion(
            f"{len(wrong)} frames have a force of up to {largest.max():.3g} eV/Å, where {np.median(largest):.2g} is usual: "
            "atoms almost on top of each other, or a calculation that did not converge",
            _names(wrong),
        )


def _disagreeing_copies(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Equal structures with different energies."""
    wrong = []
    for group in equal_structures(structures):
        energies = [structures[n].energy / len(structures[n]) for n in group]
        if max(energies) - min(energies) > 0.05:
            wrong += [structures[n] for n in group]
    if wrong:
        yield Suspicion(
            f"{len(wrong)} frames are copies of one another with energies that differ by more than 0.05 eV/atom: different "
            "settings, units, charges or spins",
            _names(wrong),
        )


def units_and_signs(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Forces against energies, and stresses against both, for all frames and, where these differ, each group."""
    groups = defaultdict(list)
    for s in structures:
        groups[s.group].append(s)
    for what in (_forces_suspect, _stress_suspect):
        overall = what(structures)
        each = {name: what(members) for name, members in groups.items()} if len(groups) > 1 else {}
        wrong = {name: text for name, text in each.items() if text is not None}
        if wrong and len(wrong) < len(groups):
            for name, text in wrong.items():
                yield Suspicion(f"config_type {name or '(none)'}: {text}", _names(groups[name]))
        elif overall is not None:
            yield Suspicion(overall, _names(structures))


def _forces_suspect(structures: Sequence[Structure]) -> str | None:
    """What is wrong with the forces as a whole; None where nothing is."""
    labelled = [s for s in structures if s.forces is not None and len(s) > 1 and np.any(s.forces)]
    steps = np.array([(step.work, step.energy) for step in _steps(labelled) if not step.strained]).reshape(-1, 2)
    slope, sure = _slope(steps)
    if sure:
        if slope < 0:
            return "forces have the wrong sign: the energy rises along them (they are gradients, not forces)"
        unit = _unit(1.0 / slope, FACTORS)
        if unit is not None:
            return (
                f"forces and energies are not in the same units: along small steps the energy changes by {slope:.3g} times "
                f"what the forces say. {unit}; eV and eV/Å are expected"
            )
        return None
    stiffness, correlation = _stiffness(labelled)
    if correlation > 0.6:
        return "forces have the wrong sign: stretched bonds push their atoms apart (they are gradients, not forces)"
    if correlation < -0.6 and stiffness > STIFF:
        return (
            f"forces are too large: bonds have force constants of {stiffness:.0f} eV/Å^2, stiffer than any; "
            "kcal/mol/Å or kJ/mol/Å instead of eV/Å?"
        )
    return None


def _stress_suspect(structures: Sequence[Structure]) -> str | None:
    """What is wrong with the stresses as a whole; None where nothing is."""
    labelled = [s for s in structures if s.virial is not None and abs(np.linalg.det(s.cell)) > 1e-8]
    if not labelled:
        return None
    largest = np.array([np.abs(s.virial).max() / abs(np.linalg.det(s.cell)) for s in labelled])
    steps = [step for step in _steps(labelled) if step.strained]
    slope, sure = _slope(np.array([(step.strain_work, step.energy - step.work) for step in steps]).reshape(-1, 2))
    sign = slope if sure else _bulk_modulus_sign(labelled)
    signed = "; and its sign is wrong: expanded cells are under tension, which is positive here" if sign < 0 else ""
    size = float(np.median(largest))
    if (sure and abs(slope) < 1 / AGREEMENT and _unit(1 / abs(slope), STRESS_FACTORS)) or size > HUGE_STRESS:
        unit = _unit(1 / abs(slope), STRESS_FACTORS) if sure else "kbar or GPa instead of eV/Å^3?"
        return f"stress is of {size * 160.2:.3g} GPa if it is in eV/Å^3. {unit or 'Other units?'}{signed}"
    if sign < 0:
        return (
            "stress has the wrong sign: expanded cells are under tension, which is positive here (VASP has it negative)"
        )
    return None


@dataclass(frozen=True)
class Step:
    """From one frame to a similar one: how much the energy rises, and how much forces and virials say that it does."""

    energy: float
    work: float
    strain_work: float
    strained: bool


def _steps(structures: Sequence[Structure]) -> Iterator[Step]:
    """The nearest pairs of frames that have the same atoms in the same order."""
    kinds = defaultdict(list)
    for s in structures:
        kinds[s.symbols, tuple(np.asarray(s.periodic).tolist())].append(s)
    for members in kinds.values():
        members = members[:: max(1, len(members) // LOOKED_AT)]
        if len(members) < 2:
            continue
        places = np.array([np.concatenate([s.positions.ravel(), s.cell.ravel()]) for s in members])
        places -= places.mean(axis=0)
        squares = (places**2).sum(axis=1)
        distances = squares[:, None] + squares - 2 * places @ places.T
        first, second = np.triu_indices(len(members), 1)
        nearest = np.argsort(distances[first, second], kind="stable")[: 4 * PAIRS]
        yield from (_step(members[a], members[b]) for a, b in zip(first[nearest], second[nearest], strict=True))


def _step(a: Structure, b: Structure) -> Step:
    if a.periodic.all():
        strained = not np.allclose(a.cell, b.cell, atol=1e-5)
        fractions = np.linalg.solve(b.cell.T, b.positions.T).T - np.linalg.solve(a.cell.T, a.positions.T).T
        displacement = (fractions - np.round(fractions)) @ (0.5 * (a.cell + b.cell))
        deformation = np.linalg.solve(0.5 * (a.cell + b.cell), b.cell - a.cell)
    else:
        strained = False
        displacement, deformation = b.positions - a.positions, np.zeros((3, 3))
    forces = 0.0 if a.forces is None or b.forces is None else 0.5 * (a.forces + b.forces)
    both = a.virial is not None and b.virial is not None
    strain = 0.5 * (deformation + deformation.T)
    return Step(
        b.energy - a.energy,
        -float(np.sum(forces * displacement)),
        float(np.sum(0.5 * (a.virial + b.virial) * strain)) if both else 0.0,
        strained and both,
    )


def _slope(steps: Float[np.ndarray, "P 2"]) -> tuple[float, bool]:
    """Slope of the second column over the first, through the origin, and whether they are related at all.

    Steps of every size count alike: a few large ones, where neither is linear, must not decide.
    """
    steps = steps[np.abs(steps).max(axis=1, initial=0.0) > 1e-6]
    if len(steps) < 6:
        return 1.0, False
    scale = np.median(np.abs(steps), axis=0)
    if not scale.all():
        return 1.0, False
    x, y = (steps / scale).T
    weights = 1.0 / np.maximum(x**2 + y**2, 1e-2)
    xx, yy, xy = (weights * x * x).sum(), (weights * y * y).sum(), (weights * x * y).sum()
    correlation = xy / np.sqrt(xx * yy)
    return float(np.sign(xy) * np.sqrt(yy / xx) * scale[1] / scale[0]), bool(abs(correlation) > SURE)


def _unit(factor: float, factors: dict[str, float]) -> str | None:
    """What numbers that are ``factor`` too large may be in; None where they are right."""
    if 1 / AGREEMENT < factor < AGREEMENT:
        return None
    nearest = min(factors, key=lambda unit: abs(np.log(abs(factor) / factors[unit])))
    other = min(factors, key=lambda unit: abs(np.log(abs(factor) * factors[unit])))
    if abs(np.log(abs(factor) / factors[nearest])) < np.log(1.3):
        return f"They are about {abs(factor):.3g} times too large, as in {nearest}"
    if abs(np.log(abs(factor) * factors[other])) < np.log(1.3):
        return f"They are about {1 / abs(factor):.3g} times too small, as if the energies were in {other}"
    return f"They are off by a factor of about {abs(factor):.3g}"


def _stiffness(structures: Sequence[Structure]) -> tuple[float, float]:
    """Force constant (eV/Å^2) of the stiffest kind of bonds, and the correlation of their push with their length.

    A bond is an atom and its nearest neighbour. What pushes them apart falls with the distance, in every material.
    """
    lengths, pushes = defaultdict(list), defaultdict(list)
    for s in structures[:: max(1, len(structures) // LOOKED_AT)]:
        i, j, shifts = neighbor_pairs(s.positions, s.cell, s.periodic, 3.5)
        vectors = s.positions[j] - s.positions[i] + shifts @ s.cell
        r = np.linalg.norm(vectors, axis=1)
        for atom in np.unique(i):
            rows = np.flatnonzero(i == atom)
            row = rows[np.argmin(r[rows])]
            if r[row] > 1e-3:
                kind = tuple(sorted((s.symbols[i[row]], s.symbols[j[row]])))
                lengths[kind].append(r[row])
                pushes[kind].append((s.forces[j[row]] - s.forces[i[row]]) @ vectors[row] / r[row])
    found = []
    for kind, values in lengths.items():
        x, y = np.array(values), np.array(pushes[kind])
        if len(x) >= 20 and x.std() > 1e-3 and y.std() > 0:
            correlation = float(np.corrcoef(x, y)[0, 1])
            found.append((abs(correlation), float(y.std() / x.std()) / 2, correlation))
    if not found:
        return 0.0, 0.0
    _, stiffness, correlation = max(found)
    return stiffness, correlation


def _bulk_modulus_sign(structures: Sequence[Structure]) -> float:
    """-1 where tension falls as cells of one composition expand, 1 where it rises, 0 where that cannot be told."""
    kinds = defaultdict(list)
    for s in structures:
        volume = abs(np.linalg.det(s.cell))
        kinds[s.symbols].append((np.log(volume), np.trace(s.virial) / (3 * volume)))
    signs = []
    for values in kinds.values():
        x, y = np.array(values).T
        if len(x) >= 5 and np.ptp(x) > 0.01 and y.std() > 0:
            correlation = np.corrcoef(x, y)[0, 1]
            signs += [np.sign(correlation)] if abs(correlation) > SURE else []
    return float(np.sign(sum(signs)))


def _names(structures: Sequence[Structure]) -> tuple[str, ...]:
    return tuple(s.name for s in structures)
