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

from jax_models.neighborhood import neighbor_pairs, pair_vectors
from jax_models.training.data.duplicates import equal_structures
from jax_models.training.data.structures import Structure, elements_of

NAMED = 3
"""Frames that a warning names; the others are counted."""
LOOKED_AT = 1500
"""Structures of one composition that are compared with each other."""
BONDS_OF = 300
"""Structures that bonds are measured in."""
PAIRS, FEWEST_PAIRS = 200, 10
SURE = 0.7
"""Correlation with the energies from which on a slope means something."""
AGREEMENT, STRESS_AGREEMENT = 4.0, 10.0
"""A slope within this factor of 1 is right: real steps are not infinitely small, and units differ by more."""
LARGE_FORCES = {
    "forces in kcal/mol/Å": 23.0605,
    "energies in Hartree": 27.2114,
    "energies in Rydberg": 13.6057,
    "forces in kJ/mol/Å": 96.4853,
    "forces in meV/Å": 1000.0,
}
LARGE_ENERGIES = {
    "energies in kcal/mol": 23.0605,
    "forces in Rydberg/Bohr": 25.7110,
    "forces in Hartree/Bohr": 51.4221,
    "energies in kJ/mol": 96.4853,
    "energies in meV": 1000.0,
}
LARGE_STRESSES = {"kbar": 1602.1766, "GPa": 160.21766}
"""How many times too large numbers are in other units than eV, eV/Å and eV/Å^3."""
SMALLEST_GAP = 0.3
"""eV/atom, between an outlier and all others."""
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
    if len({s.charge for s in structures}) > 1:
        values = ", ".join(f"{q:+g}" for q in sorted({s.charge for s in charged}))
        yield Suspicion(
            f"{len(charged)} of {len(structures)} frames carry a net charge ({values}), which a potential cannot see; "
            "its energies mix those of different charges; remove them, or train on one charge",
            _names(charged),
        )


def zero_forces(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Forces that are exactly zero where no symmetry makes them so."""
    empty = [s for s in structures if s.forces is not None and len(s) > 1 and not np.any(s.forces)]
    wrong = [s for s in empty if not _symmetric(s)]
    if wrong:
        yield Suspicion(
            f"{len(wrong)} frames have forces that are all exactly zero, although no symmetry makes them vanish: "
            "forces were probably not computed; remove them, or label them again",
            _names(wrong),
        )


def _symmetric(s: Structure) -> bool:
    """Whether the neighbours of every atom pull it equally to all sides."""
    i, j, shifts = neighbor_pairs(s.positions, s.cell, s.periodic, 5.0)
    vectors = pair_vectors(s.positions, s.cell, i, j, shifts)
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
    # Kinds of structures differ more than the members of one kind.
    kinds = np.array([s.group for s in structures])
    apart = np.zeros(len(left), bool)
    for kind in sorted(set(kinds.tolist())):
        members = np.flatnonzero(kinds == kind)
        if len(members) >= 5:
            apart[members] = _apart(left[members])
    if apart.any():
        yield Suspicion(
            f"{apart.sum()} frames have an energy per atom more than {SMALLEST_GAP} eV from that of all others of "
            "their kind: a calculation that did not converge, another unit, or other settings of the reference method",
            _names([structures[n] for n in np.flatnonzero(apart).tolist()]),
        )


def _apart(values: Float[np.ndarray, " N"]) -> np.ndarray:
    """Which few values a wide gap parts from the others, above or below."""
    order = np.argsort(values)
    ordered = values[order]
    few = max(1, len(values) // 20)
    limit = max(SMALLEST_GAP, 0.5 * float(np.ptp(ordered[few:-few])))
    gaps = np.diff(ordered) > limit
    apart = np.zeros(len(values), bool)
    for number in np.flatnonzero(gaps[:few]):
        apart[order[: number + 1]] = True
    for number in np.flatnonzero(gaps[::-1][:few]):
        apart[order[len(order) - 1 - number :]] = True
    return apart


def force_outliers(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Forces far above those of the other frames."""
    labelled = [(s, s.forces) for s in structures if s.forces is not None and len(s) > 1]
    if not labelled:
        return
    largest = np.array([np.linalg.norm(forces, axis=1).max() for _, forces in labelled])
    limit = max(25 * np.median(largest), 50.0)
    wrong = [s for (s, _), f in zip(labelled, largest, strict=True) if f > limit]
    if wrong and len(wrong) < 0.5 * len(labelled):
        yield Suspicion(
            f"{len(wrong)} frames have a force of up to {largest.max():.3g} eV/Å, where {np.median(largest):.2g} is "
            "usual: atoms almost on top of each other, or a calculation that did not converge",
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
            f"{len(wrong)} frames are copies of one another with energies that differ by more than 0.05 eV/atom: "
            "different settings, units, charges or spins",
            _names(wrong),
        )


def units_and_signs(structures: Sequence[Structure]) -> Iterator[Suspicion]:
    """Forces against energies, and stresses against both, for all frames and, where these differ, each group."""
    groups = defaultdict(list)
    for s in structures:
        groups[s.group].append(s)
    for what in (_forces_suspect, _stress_suspect):
        overall = what(structures, True)
        large = {name: members for name, members in groups.items() if len(members) >= FEWEST_PAIRS}
        each = {name: what(members, False) for name, members in large.items()} if len(groups) > 1 else {}
        wrong = {name: text for name, text in each.items() if text is not None}
        if overall is not None:
            frames = [s for name in wrong for s in groups[name]] or structures
            yield Suspicion(overall, _names(frames))
        else:
            for name, text in wrong.items():
                yield Suspicion(f"config_type {name or '(none)'}: {text}", _names(groups[name]))


def _forces_suspect(structures: Sequence[Structure], complete: bool) -> str | None:
    """What energies and bonds say of the forces as a whole; None where nothing is wrong."""
    labelled = [s for s in structures if s.forces is not None and len(s) > 1 and np.any(s.forces)]
    slope, sure = _slope([(step.work, step.energy) for step in _steps(labelled, strained=False)])
    if sure and slope < 0:
        return "forces have the wrong sign: the energy rises along them (they are gradients, not forces)"
    if sure and not 1 / AGREEMENT < slope < AGREEMENT:
        large = _likely(1 / slope, LARGE_FORCES) if slope < 1 else _likely(slope, LARGE_ENERGIES)
        return (
            f"forces and energies are not in the same units: along small steps the energy changes by {slope:.3g} times "
            f"what the forces say{large}; eV and eV/Å are expected"
        )
    stiffness, correlation = _stiffness(labelled)
    if not sure and correlation < -0.6 and stiffness > STIFF:
        return (
            f"forces are too large: bonds have force constants of {stiffness:.0f} eV/Å^2, stiffer than any; "
            "kcal/mol/Å or kJ/mol/Å instead of eV/Å?"
        )
    # In one crystal under strain second neighbours may outweigh the first: only a whole data set tells by its bonds.
    if not sure and complete and correlation > 0.6:
        return "forces have the wrong sign: stretched bonds push their atoms apart (they are gradients, not forces)"
    return None


def _stress_suspect(structures: Sequence[Structure], _: bool) -> str | None:
    """What energies and volumes say of the stresses as a whole; None where nothing is wrong."""
    labelled = [s for s in structures if s.virial is not None and abs(np.linalg.det(s.cell)) > 1e-8]
    if not labelled:
        return None
    largest = np.array([np.abs(s.virial).max() / abs(np.linalg.det(s.cell)) for s in labelled if s.virial is not None])
    size = float(np.median(largest))
    slope, sure = _slope([(s.strain_work, s.energy - s.work) for s in _steps(labelled, strained=True)])
    sign = np.sign(slope) if sure else _bulk_modulus_sign(labelled)
    signed = "; and its sign is wrong: expanded cells are under tension, which is positive here" if sign < 0 else ""
    scaled = sure and not 1 / STRESS_AGREEMENT < abs(slope) < STRESS_AGREEMENT
    if scaled or size > HUGE_STRESS:
        unit = _likely(1 / abs(slope), LARGE_STRESSES) if scaled else ", as in kbar or GPa"
        return f"stresses are not in eV/Å^3: they would be {size * 160.2:.3g} GPa in half of the frames{unit}{signed}"
    if sign < 0:
        return "stresses have the wrong sign: expanded cells are under tension, positive here and negative in VASP"
    return None


@dataclass(frozen=True)
class Step:
    """From one frame to a similar one: how much the energy rises, and how much forces and virials say that it does."""

    energy: float
    work: float
    strain_work: float


def _steps(structures: Sequence[Structure], strained: bool) -> Iterator[Step]:
    """The nearest pairs of frames with the same atoms in the same order, in one cell or, with virials, in two."""
    kinds = defaultdict(list)
    for s in structures:
        kinds[s.symbols, tuple(np.asarray(s.periodic).tolist())].append(s)
    pairs: list[tuple[float, Structure, Structure]] = []
    for members in kinds.values():
        members = members[:: -(-len(members) // LOOKED_AT)]
        cells = np.array([np.ravel(s.cell) for s in members])
        places = np.array([np.ravel(s.positions - s.positions.mean(axis=0)) for s in members])
        distances = _squares(places) / len(members[0]) + _squares(cells) / 3
        first, second = np.triu_indices(len(members), 1)
        alike = _squares(cells)[first, second] < 1e-8
        wanted = np.flatnonzero(~alike if strained else alike)
        nearest = wanted[np.argsort(distances[first[wanted], second[wanted]], kind="stable")[:PAIRS]]
        pairs += [
            (distances[a, b], members[a], members[b]) for a, b in zip(first[nearest], second[nearest], strict=True)
        ]
    pairs.sort(key=lambda pair: pair[0])
    for _, a, b in pairs[:PAIRS]:
        yield _step(a, b)


def _squares(points: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N N"]:
    """Squared distances of all pairs."""
    points = points - points.mean(axis=0)
    squares = (points**2).sum(axis=1)
    return np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0.0)


def _step(a: Structure, b: Structure) -> Step:
    if a.periodic.all():
        cell = 0.5 * (a.cell + b.cell)
        fractions = np.linalg.solve(b.cell.T, b.positions.T).T - np.linalg.solve(a.cell.T, a.positions.T).T
        displacement = (fractions - np.round(fractions)) @ cell
        deformation = np.linalg.solve(cell, b.cell - a.cell)
    else:
        displacement, deformation = b.positions - a.positions, np.zeros((3, 3))
    forces = 0.0 if a.forces is None or b.forces is None else 0.5 * (a.forces + b.forces)
    virial = 0.0 if a.virial is None or b.virial is None else 0.5 * (a.virial + b.virial)
    strain = 0.5 * (deformation + deformation.T)
    return Step(b.energy - a.energy, -float(np.sum(forces * displacement)), float(np.sum(virial * strain)))


def _slope(steps: Sequence[tuple[float, float]]) -> tuple[float, bool]:
    """The usual ratio of the second to the first number, and whether they are related at all.

    Measured on mlearn, water, ethanol, 3BPA and TiO2: 0.85 to 1.10 for forces, at correlations from 0.80 to 0.99.
    """
    x, y = np.array(steps, float).reshape(-1, 2).T
    moving = (np.abs(x) > 1e-9) & (np.abs(y) > 1e-9)
    x, y = x[moving], y[moving]
    if len(x) < FEWEST_PAIRS:
        return 1.0, False
    correlation = float((x @ y) / np.sqrt((x @ x) * (y @ y)))
    slope = float(np.median(y / x))
    return slope, abs(correlation) > SURE and slope * correlation > 0


def _likely(factor: float, causes: dict[str, float]) -> str:
    """What makes numbers ``factor`` times too large, as the end of a sentence."""
    near = [cause for cause, size in causes.items() if abs(np.log(factor / size)) < np.log(1.5)]
    return f", as with {' or '.join(near)}" if near else ""


def _stiffness(structures: Sequence[Structure]) -> tuple[float, float]:
    """Force constant (eV/Å^2) of the stiffest kind of bonds, and the correlation of their push with their length.

    A bond is an atom and its nearest neighbour. What pushes them apart falls with the distance, in every material.
    """
    lengths, pushes = defaultdict(list), defaultdict(list)
    for s in structures[:: max(1, len(structures) // BONDS_OF)]:
        if s.forces is None:
            continue
        i, j, shifts = neighbor_pairs(s.positions, s.cell, s.periodic, 3.5)
        vectors = pair_vectors(s.positions, s.cell, i, j, shifts)
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
        if s.virial is None:
            continue
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
