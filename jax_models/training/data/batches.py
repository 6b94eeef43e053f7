"""Batches of one shape: structures packed into a padded neighbour matrix, so that training compiles once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jax_models.errors import DatasetError, StructureError
from jax_models.neighborhood import Neighborhood, bucket, dense_neighbors, neighbor_pairs, pair_vectors
from jax_models.training.data.structures import Structure

MINIMUM_ATOMS = 96
"""Below this a step costs more in overhead than in arithmetic; yet a small data set needs steps: at least 8 an
epoch."""
COINCIDENT = 1e-3
ISOLATED_WEIGHT = 0.03
"""Of the energy error of an isolated atom, which is off by several eV at first. 40 structures of ethanol, 20 epochs,
one seed: the force error is 0.94 eV/Å with the weight of other structures, 0.81 with this and 0.84 without isolated
atoms. After 200 epochs the isolated atoms are met all the same, to 1 meV."""


class Batch(NamedTuple):
    """Some structures (a JAX pytree): A atoms of up to B structures. Padding belongs to structure B, or has weight
    0. The fields are NumPy arrays where structures are packed, and JAX arrays where errors are computed."""

    neighborhood: Neighborhood
    reverse: Int[Any, "A K"]
    """Flat index of the entry (j, i) of each entry (i, j): forces are then a gather, not a scatter."""
    structure: Int[Any, " A"]
    forces: Float[Any, "A 3"]
    force_weight: Float[Any, " A"]
    energy: Float[Any, " B"]
    """Less the reference energies."""
    energy_weight: Float[Any, " B"]
    virial: Float[Any, "B 3 3"]
    virial_weight: Float[Any, " B"]
    n_atoms: Float[Any, " B"]
    weight: Float[Any, " B"]
    """Of each structure in the loss. The weights above say what there is, and errors that are shown know only them."""
    atom_weight: Float[Any, " A"]
    """The same of the structure of each atom."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A structure with its neighbours found, once for all epochs."""

    vectors: Float[np.ndarray, "N K 3"]
    neighbors: Int[np.ndarray, "N K"]
    mask: Bool[np.ndarray, "N K"]
    reverse: Int[np.ndarray, "N K 2"]
    """Row and column of the entry (j, i)."""
    species: Int[np.ndarray, " N"]
    energy: float
    forces: Float[np.ndarray, "N 3"] | None
    virial: Float[np.ndarray, "3 3"] | None
    weight: float

    def __len__(self) -> int:
        return len(self.species)

    @property
    def rows(self) -> int:
        """Rows that it takes in a batch."""
        return len(self.mask)

    @property
    def alone(self) -> bool:
        """Whether this is one atom that sees no other."""
        return len(self) == 1 and not self.mask.any()

    def pack(self, members: Sequence[Any], shape: Shape) -> Any:
        """One batch of structures prepared alike, this among them."""
        return _pack(members, shape)


def prepare(
    structure: Structure,
    elements: Sequence[str],
    references: Float[np.ndarray, " S"],
    cutoff: float,
    dtype: type = np.float32,
) -> Prepared:
    """Neighbours, and the energy left for the model to learn; vectors are cast to ``dtype``.

    Raises:
        DatasetError: an element not in ``elements``, atoms at the same place, an unusable cell.
    """
    species, energy = species_and_energy(structure, elements, references)
    try:
        i, j, shifts = neighbor_pairs(structure.positions, structure.cell, structure.periodic, cutoff)
    except StructureError as error:
        raise DatasetError(f"{structure.name}: {error}") from None
    neighbors, dense_shifts, mask = dense_neighbors(i, j, shifts, len(structure))
    centers = np.arange(len(structure))[:, None]
    vectors = pair_vectors(structure.positions, structure.cell, centers, neighbors, dense_shifts)
    near = mask & ((vectors**2).sum(-1) < COINCIDENT**2)
    if near.any():
        a, k = np.argwhere(near)[0]
        raise DatasetError(
            f"{structure.name}: atoms {a} and {neighbors[a, k]} are at the same place; remove or mend this frame"
        )
    forces = structure.forces
    if forces is None and structure.isolated:
        forces = np.zeros((1, 3))
    reverse = _reverse(i, j, shifts, neighbors.shape)
    return Prepared(
        vectors.astype(dtype), neighbors, mask, reverse, species, energy, forces, structure.virial, structure.weight
    )


def species_and_energy(
    structure: Structure, elements: Sequence[str], references: Float[np.ndarray, " S"]
) -> tuple[Int[np.ndarray, " N"], float]:
    """Indices in ``elements``, and the energy less the elements' references.

    Raises:
        DatasetError: an element not in ``elements``.
    """
    index = {e: n for n, e in enumerate(elements)}
    unknown = sorted(set(structure.symbols) - set(index))
    if unknown:
        raise DatasetError(
            f"{structure.name} has {', '.join(unknown)}, which the training data lack; they have {', '.join(elements)}"
        )
    species = np.array([index[s] for s in structure.symbols], np.int32)
    return species, structure.energy - references[species].sum()


def _reverse(i, j, shifts, shape: tuple[int, int]) -> Int[np.ndarray, "N K 2"]:
    """Where the pair (j, i, -shift) of each pair (i, j, shift) stands in the dense matrix."""
    columns = np.arange(len(i)) - np.searchsorted(i, i)
    forward = np.lexsort((*shifts.T, j, i))
    backward = np.lexsort((*(-shifts.T), i, j))
    partner = np.empty(len(i), int)
    partner[backward] = forward
    result = np.zeros((*shape, 2), np.int32)
    result[i, columns, 0] = i[partner]
    result[i, columns, 1] = columns[partner]
    return result


@dataclass(frozen=True)
class Shape:
    """The padded size of every batch. Where rows are the points of a grid, also the number of points, and the most
    places that one atom has among their neighbours."""

    atoms: int
    neighbors: int
    structures: int
    points: int = 0
    entries: int = 0

    @property
    def rows(self) -> int:
        return self.points or self.atoms


def common_shape(prepared: Sequence[Prepared], batch_structures: int) -> Shape:
    """Room for ``batch_structures`` structures of average size, for the largest one, and for any row's neighbours."""
    sizes, atoms = np.array([p.rows for p in prepared]), np.array([len(p) for p in prepared])
    fewest = min(MINIMUM_ATOMS, atoms.sum() / 8) * sizes.mean() / atoms.mean()
    rows = max(batch_structures * sizes.mean(), fewest, sizes.max())
    most = bucket(max(p.mask.shape[1] for p in prepared))
    room, structures = bucket(int(np.ceil(rows)), 8), bucket(int(np.ceil(1.5 * rows / sizes.mean())))
    if np.array_equal(sizes, atoms):
        return Shape(room, most, structures)
    # Whatever the order: no more atoms than all rows full of the densest structure.
    densest = min(room * (atoms / np.maximum(sizes, 1)).max(), structures * atoms.max())
    return Shape(
        bucket(int(np.ceil(densest)), 8), most, structures, room, bucket(max(p.reverse.shape[1] for p in prepared))
    )


def packs(sizes: Sequence[int], order: Sequence[int], shape: Shape) -> list[list[int]]:
    """``order`` cut into runs that fit ``shape``; ``sizes`` are in rows."""
    result: list[list[int]] = []
    room = 0
    for index in order:
        if not result or sizes[index] > room or len(result[-1]) == shape.structures:
            result.append([])
            room = shape.rows
        result[-1].append(index)
        room -= sizes[index]
    return result


def shuffled_batches(
    prepared: Sequence[Prepared], shape: Shape, seed: int, epoch: int
) -> Iterator[tuple[float, Batch]]:
    """The batches of an epoch, each with the part of the epoch that comes before it.

    The order depends on ``seed`` and ``epoch`` alone: a resumed training sees what an uninterrupted one would.
    """
    order = np.random.default_rng([seed, 2, epoch]).permutation(len(prepared)).tolist()
    runs = packs([p.rows for p in prepared], order, shape)
    for number, run in enumerate(runs):
        yield number / len(runs), pack([prepared[i] for i in run], shape)


def pack(members: Sequence[Prepared], shape: Shape) -> Any:
    """One batch: a `Batch`, or a `GridBatch` of structures seen from a grid."""
    return members[0].pack(members, shape)


def packed_labels(members: Sequence[Prepared], shape: Shape) -> dict[str, np.ndarray]:
    """Labels and weights of the atoms and structures of a batch, by the names of its fields, in the type of the
    members' vectors."""
    a, b, dtype = shape.atoms, shape.structures, members[0].vectors.dtype
    forces, force_weight, atom_weight = np.zeros((a, 3), dtype), np.zeros(a, dtype), np.ones(a, dtype)
    energy, energy_weight, n_atoms = np.zeros(b, dtype), np.zeros(b, dtype), np.ones(b, dtype)
    virial, virial_weight, weight = np.zeros((b, 3, 3), dtype), np.zeros(b, dtype), np.ones(b, dtype)
    start = 0
    for number, p in enumerate(members):
        atoms = slice(start, start + len(p))
        energy[number], n_atoms[number] = p.energy, len(p)
        energy_weight[number] = ISOLATED_WEIGHT if p.alone else 1.0
        weight[number], atom_weight[atoms] = p.weight, p.weight
        if p.forces is not None:
            forces[atoms], force_weight[atoms] = p.forces, 1.0
        if p.virial is not None:
            virial[number], virial_weight[number] = p.virial, 1.0
        start += len(p)
    return {
        "forces": forces, "force_weight": force_weight, "energy": energy, "energy_weight": energy_weight,
        "virial": virial, "virial_weight": virial_weight, "n_atoms": n_atoms, "weight": weight,
        "atom_weight": atom_weight,
    }  # fmt: skip


def _pack(members: Sequence[Prepared], shape: Shape) -> Batch:
    """One batch of NumPy arrays, in the type of the members' vectors."""
    a, k, b = shape.atoms, shape.neighbors, shape.structures
    vectors, mask = np.zeros((a, k, 3), members[0].vectors.dtype), np.zeros((a, k), bool)
    neighbors, species, structure = np.zeros((a, k), np.int32), np.zeros(a, np.int32), np.full(a, b, np.int32)
    reverse = np.zeros((a, k), np.int32)
    start = 0
    for number, p in enumerate(members):
        n, width = p.mask.shape
        rows = slice(start, start + n)
        vectors[rows, :width], mask[rows, :width] = p.vectors, p.mask
        neighbors[rows, :width] = p.neighbors + start
        reverse[rows, :width] = (p.reverse[..., 0] + start) * k + p.reverse[..., 1]
        species[rows], structure[rows] = p.species, number
        start += n
    neighborhood = Neighborhood(vectors, species, species[neighbors], mask, neighbors)
    return Batch(neighborhood=neighborhood, reverse=reverse, structure=structure, **packed_labels(members, shape))
