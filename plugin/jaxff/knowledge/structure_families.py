"""Structures without labels, made from crystals: strained, rattled, with vacancies, cut, in other lattices, molten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, surface
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii, reference_states
from jaxtyping import Float

from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError, StructureError
from jax_models.neighborhood import neighbor_pairs, pair_vectors
from jaxff.knowledge.snapshots import named, snapshots

ATTEMPTS = 50
CLOSEST = 0.6
"""Of the sum of two covalent radii: pairs that come closer are drawn again; no empirical potential means anything
there."""
CLOSE = 6.0
"""Å, within which pairs of elements are looked for in a crystal."""
PUSHED, PUSHES = 0.85, 200
"""Of the distance in the crystal: how far, and how often, pairs of a disordered structure are pushed apart."""
FACES = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1), (2, 2, 1), (3, 1, 1))
VACUUM = 8.0
"""Å on either side of a slab."""
ELEMENTARY = {"sc": 1.0, "fcc": 2**0.5, "bcc": 2 / 3**0.5, "hcp": 1.0, "diamond": 4 / 3**0.5}
BINARY = {"rocksalt": 2.0, "cesiumchloride": 2 / 3**0.5, "zincblende": 4 / 3**0.5}
"""Lattice constant in units of the distance of nearest neighbours."""


@dataclass(frozen=True)
class Recipe:
    """How far structures go from the crystals that they start from.

    Raises:
        ConfigError: a value that makes no structure.
    """

    strain: float = 0.05
    """Standard deviation of each strain component."""
    rattle: float = 0.25
    """Å; largest standard deviation of displacements."""
    atoms: int = 32
    """Atoms that a cell has at least."""
    temperatures: tuple[float, ...] = (300.0, 1000.0, 2500.0)
    """K, of the molecular dynamics."""

    def __post_init__(self):
        for name, low, high in (("strain", 0.0, 0.3), ("rattle", 0.0, 1.0), ("atoms", 1, 10000)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be between {low} and {high}")
        if not self.temperatures or not all(0 < t < 1e5 for t in self.temperatures):
            raise ConfigError(
                f"temperatures is {list(self.temperatures)}; it must list one or more positive temperatures in K"
            )


Draw = Callable[[Atoms, np.random.Generator, Recipe], Atoms]


def strained(crystal: Atoms, generator: np.random.Generator, recipe: Recipe) -> Atoms:
    """Under a random symmetric strain and a random pressure."""
    strain = generator.normal(scale=recipe.strain, size=(3, 3))
    volume = generator.uniform(-recipe.strain, recipe.strain) * np.eye(3)
    deformation = np.eye(3) + 0.5 * (strain + strain.T) + volume
    atoms = crystal.copy()
    if atoms.pbc.all():
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    else:
        atoms.cell, atoms.positions = atoms.cell.array @ deformation, atoms.positions @ deformation
    return _displaced(atoms, generator, 0.1 * recipe.rattle)


def rattled(crystal: Atoms, generator: np.random.Generator, recipe: Recipe) -> Atoms:
    """Every atom displaced."""
    return _displaced(crystal.copy(), generator, generator.uniform(0.1, 1.0) * recipe.rattle)


def with_vacancies(crystal: Atoms, generator: np.random.Generator, recipe: Recipe) -> Atoms:
    """One to three atoms missing, the others displaced a little."""
    if len(crystal) < 2:
        raise StructureError("a vacancy needs a cell of two atoms or more")
    atoms = crystal.copy()
    del atoms[generator.permutation(len(atoms))[: generator.integers(1, min(3, len(atoms) - 1) + 1)].tolist()]
    return _displaced(atoms, generator, generator.uniform(0.1, 0.5) * recipe.rattle)


def cut(crystal: Atoms, generator: np.random.Generator, recipe: Recipe) -> Atoms:
    """A slab with one of the low-index faces, its atoms displaced a little."""
    supercell(crystal, 1)  # refuses what is no crystal
    face = FACES[generator.integers(len(FACES))]
    slab = surface(crystal, face, 1)
    layers = max(1, -(-recipe.atoms // (2 * len(slab))), int(np.ceil(5.0 / max(np.ptp(slab.positions[:, 2]), 1.0))))
    slab = surface(crystal, face, layers, vacuum=VACUUM)
    slab.pbc = True
    return _displaced(slab, generator, generator.uniform(0.1, 0.5) * recipe.rattle)


def disordered(crystal: Atoms, generator: np.random.Generator, recipe: Recipe) -> Atoms:
    """Atoms at random places, pushed apart until pairs are about as near as in a hot liquid, which is a little nearer
    than in the crystal, each pair of elements by itself; denser than the crystal by a twentieth, to more open by a
    third."""
    nearest = PUSHED * _nearest(crystal)
    atoms = crystal.copy()
    atoms.set_cell(atoms.cell * generator.uniform(0.95, 1.33) ** (1 / 3))
    atoms.set_scaled_positions(generator.uniform(size=(len(atoms), 3)))
    for _ in range(PUSHES):
        i, j, vectors = _pairs(atoms, float(nearest.max(initial=1.0)))
        distances = np.linalg.norm(vectors, axis=1)
        overlap = nearest[atoms.numbers[i], atoms.numbers[j]] - distances
        near = overlap > 0
        if not near.any():
            break
        # Each of the two moves half of the way; two atoms on one point go where chance sends them.
        along = np.where(distances[:, None] > 1e-6, vectors, generator.normal(size=vectors.shape))[near]
        along /= np.linalg.norm(along, axis=1)[:, None]
        np.add.at(atoms.positions, i[near], -0.5 * overlap[near, None] * along)
    return atoms


def _nearest(crystal: Atoms) -> Float[np.ndarray, "Z Z"]:
    """Å: the shortest distance of each pair of elements, by atomic numbers; 0 where they are never close."""
    i, j, vectors = _pairs(crystal, CLOSE)
    found = np.full((len(covalent_radii), len(covalent_radii)), np.inf)
    np.minimum.at(found, (crystal.numbers[i], crystal.numbers[j]), np.linalg.norm(vectors, axis=1))
    return np.where(np.isfinite(found), found, 0.0)


def _pairs(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, "P 3"]]:
    i, j, shifts = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    return i, j, pair_vectors(atoms.positions, atoms.cell.array, i, j, shifts)


def prototype(elements: Sequence[str], generator: np.random.Generator, recipe: Recipe) -> Atoms:
    """Another lattice at a random density: of one element, of two in order, or of all at random."""
    chosen = [str(e) for e in generator.permutation(list(elements))]
    if len(chosen) > 1 and generator.random() < 0.5:
        name = list(BINARY)[generator.integers(len(BINARY))]
        distance = _bond(*chosen[:2]) * generator.uniform(0.9, 1.2)
        atoms = bulk(chosen[0] + chosen[1], name, a=BINARY[name] * distance)
    else:
        name = list(ELEMENTARY)[generator.integers(len(ELEMENTARY))]
        distance = float(np.mean([_bond(a, b) for a in chosen for b in chosen])) * generator.uniform(0.9, 1.2)
        extra = {"c": distance * (8 / 3) ** 0.5} if name == "hcp" else {}
        atoms = supercell(
            bulk(chosen[0], name, a=ELEMENTARY[name] * distance, **extra),
            min(recipe.atoms, 16) if len(chosen) > 1 else 1,
        )
        atoms.symbols[:] = [chosen[k] for k in generator.integers(len(chosen), size=len(atoms))]
    return _displaced(atoms, generator, generator.uniform(0.0, 0.3) * recipe.rattle)


FAMILIES: dict[str, Draw] = {
    "strain": strained,
    "rattle": rattled,
    "vacancy": with_vacancies,
    "surface": cut,
    "disordered": disordered,
}
"""Those that start from a crystal; ``prototype`` starts from elements, ``melt`` needs a teacher."""
MOLECULAR = ("strain", "rattle")
"""Those that also mean something for what is not periodic: molecules, clusters, slabs."""
ALL_FAMILIES = ("strain", "rattle", "vacancy", "surface", "prototype", "melt", "disordered")


def make_structures(
    crystals: Sequence[Atoms],
    families: Sequence[str],
    number: int,
    seed: int,
    recipe: Recipe,
    teacher: Calculator | None = None,
) -> Iterator[Atoms]:
    """``number`` structures of each family, with ``config_type`` its name. Each depends on seed, family and its own
    number alone.

    Raises:
        ConfigError: an unknown family, or ``melt`` without a teacher.
        StructureError: no structure without atoms on top of each other was found; a crystal cannot be used.
    """
    unknown = [name for name in families if name not in ALL_FAMILIES]
    if unknown:
        raise ConfigError(f"there is no family {', '.join(unknown)}; choose from {', '.join(ALL_FAMILIES)}")
    if "melt" in families and teacher is None:
        raise ConfigError(
            "melt needs a teacher for its molecular dynamics: give --teachers, or leave melt out of --families"
        )
    elements = sorted(
        {symbol for atoms in crystals for symbol in atoms.get_chemical_symbols()}, key=ATOMIC_NUMBERS.__getitem__
    )
    for family in families:
        seeds = [seed, ALL_FAMILIES.index(family)]
        if family == "melt" and teacher is not None:
            for n, crystal in enumerate(crystals):
                share = len(range(n, number, len(crystals)))
                each = -(-share // len(recipe.temperatures))
                start = supercell(crystal, recipe.atoms)
                found = snapshots(start, teacher, np.random.default_rng([*seeds, n]), recipe.temperatures, each, family)
                yield from found[:share]
            continue
        for n in range(number):
            crystal = crystals[n % len(crystals)]
            yield named(_drawn(family, crystal, elements, [*seeds, n], recipe), family)


def crystal_of(element: str) -> Atoms:
    """An element's crystal at ambient conditions, as ASE knows it.

    Raises:
        ConfigError: no such element, or one whose crystal ASE cannot build.
    """
    if element not in ATOMIC_NUMBERS:
        raise ConfigError(f"not a chemical element: {element}")
    try:
        state: Any = reference_states[atomic_numbers[element]]
        return bulk(element, cubic=state["symmetry"] in ("fcc", "bcc", "diamond", "sc"))
    except (ValueError, KeyError, TypeError, RuntimeError, NotImplementedError):
        raise ConfigError(f"ASE does not build the crystal of {element}: give a structure file to start from") from None


def supercell(crystal: Atoms, atoms: int) -> Atoms:
    """``crystal`` repeated, always along its shortest side, until it has at least so many atoms."""
    if not len(crystal) or not crystal.pbc.all() or abs(np.linalg.det(crystal.cell.array)) < 1e-6:
        raise StructureError(
            "a structure to start from must be a crystal: periodic in three directions, with atoms and a volume"
        )
    repeats = np.ones(3, int)
    while len(crystal) * repeats.prod() < atoms:
        repeats[np.argmin(crystal.cell.lengths() * repeats)] += 1
    return crystal * repeats


def _drawn(family: str, crystal: Atoms, elements: Sequence[str], seeds: list[int], recipe: Recipe) -> Atoms:
    for attempt in range(ATTEMPTS):
        generator = np.random.default_rng([*seeds, attempt])
        if family == "prototype":
            atoms = prototype(elements, generator, recipe)
        else:
            whole = family == "surface" or (family in MOLECULAR and len(crystal) > 0 and not crystal.pbc.all())
            atoms = FAMILIES[family](crystal if whole else supercell(crystal, recipe.atoms), generator, recipe)
        if not _too_close(atoms):
            return Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    raise StructureError(
        f"{ATTEMPTS} attempts gave no {family} structure without atoms on top of each other; lower strain or rattle"
    )


def _displaced(atoms: Atoms, generator: np.random.Generator, scale: float) -> Atoms:
    atoms.positions += generator.normal(scale=scale, size=atoms.positions.shape)
    return atoms


def _bond(a: str, b: str) -> float:
    return covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]]


def _too_close(atoms: Atoms) -> bool:
    from ase.neighborlist import neighbor_list

    radii = CLOSEST * covalent_radii[atoms.numbers]
    return bool(len(neighbor_list("i", atoms, radii.tolist())))
