"""Energy barriers by the climbing-image nudged elastic band, with any ASE calculator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE
from jaxtyping import Float

from jax_models import ConfigError, ConvergenceError, StructureError
from jaxff.properties.relaxation import relax


@dataclass(frozen=True)
class Barrier:
    """A minimum-energy path."""

    energies: Float[np.ndarray, " M"]
    """eV relative to the initial structure, both ends included."""
    images: list[Atoms]
    """The structures, both ends included."""

    @property
    def saddle(self) -> Atoms:
        """The image of highest energy, which has climbed to the saddle point."""
        return self.images[int(np.argmax(self.energies))]

    @property
    def forward(self) -> float:
        """eV from the initial structure to the saddle."""
        return float(self.energies.max() - self.energies[0])

    @property
    def reverse(self) -> float:
        """eV from the final structure to the saddle."""
        return float(self.energies.max() - self.energies[-1])

    @property
    def distances(self) -> Float[np.ndarray, " M"]:
        """Å along the path: the sum of the 3N-dimensional steps from image to image."""
        steps = np.diff([image.positions for image in self.images], axis=0)
        return np.concatenate([[0.0], np.cumsum(np.sqrt((steps**2).sum(axis=(1, 2))))])


def find_barrier(
    initial: Atoms, final: Atoms, calculator: Calculator, images: int = 7, fmax: float = 0.01, steps: int = 1000
) -> Barrier:
    """The path between two minima and its saddle point (Henkelman, Uberuaga, Jónsson, J. Chem. Phys. 113, 9901).

    Both ends are relaxed in their fixed cell, each atom takes the shortest way across periodic boundaries, the
    path starts from the image-dependent pair potential's, and once it has settled its highest image climbs.

    Args:
        initial: one minimum; left as it is. Constraints (e.g. fixed atoms) are kept.
        final: the other, with the same atoms in the same order and the same cell.
        calculator: shared by all images.
        images: moving images between the ends.
        fmax: eV/Å, for the ends and for the band.
        steps: of the band, at most.

    Raises:
        StructureError: the ends differ in atoms, order, cell or boundary conditions, or are the same minimum.
        ConfigError: fewer than one image.
        ConvergenceError: an end or the band does not converge.
    """
    if images < 1:
        raise ConfigError(f"images is {images}; there must be at least one between the ends")
    _check_ends(initial, final)
    first, last = _relaxed_ends(initial, final, calculator, fmax)
    path = [first] + [first.copy() for _ in range(images)] + [last]
    for image in path:
        image.calc = _Remembering(calculator)
    band = NEB(path, method="improvedtangent")
    band.interpolate(method="idpp", mic=True, apply_constraint=False)
    # The tangent at a barely relaxed band points anywhere: climbing waits until the path has settled.
    _optimize(band, 10 * fmax, steps)
    band.climb = True
    _optimize(band, fmax, steps)
    energies = np.array([image.get_potential_energy() for image in path])
    for image in path:
        image.calc = None
    return Barrier(energies - energies[0], path)


class _Remembering(Calculator):
    """An image's own memory of a shared calculator's answer: the band asks for each of them several times a step."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, calculator: Calculator):
        super().__init__()
        self.calculator = calculator

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        forces = self.calculator.get_property("forces", atoms)
        self.results = {"energy": self.calculator.get_property("energy", atoms), "forces": forces}


def _optimize(band: NEB, fmax: float, steps: int) -> None:
    with FIRE(band, logfile=None) as optimizer:
        if not optimizer.run(fmax=fmax, steps=steps):
            raise ConvergenceError(
                f"the band has forces of {band.get_residual():.2g} eV/Å after {steps} steps, not below {fmax:g}; "
                "look at the two ends, use more images, or allow larger forces"
            )


def _relaxed_ends(initial: Atoms, final: Atoms, calculator: Calculator, fmax: float) -> tuple[Atoms, Atoms]:
    first, last = initial.copy(), final.copy()
    for end in (first, last):
        end.calc = calculator
        relax(end, fmax)
    step, lengths = find_mic(last.positions - first.positions, first.cell, first.pbc)
    if lengths.max() < 0.05:
        raise StructureError("both ends relax to the same structure: there is no path between them")
    # From here on no atom crosses a boundary on its way, whatever was wrapped in the files.
    last.positions = first.positions + step
    return first, last


def _check_ends(initial: Atoms, final: Atoms) -> None:
    if len(initial) != len(final):
        raise StructureError(f"the initial structure has {len(initial)} atoms and the final one {len(final)}")
    if len(initial) == 0:
        raise StructureError("the structures have no atoms")
    different = np.flatnonzero(initial.numbers != final.numbers)
    if len(different):
        n = int(different[0])
        same = sorted(initial.numbers) == sorted(final.numbers)
        raise StructureError(
            f"atom {n} is {initial.symbols[n]} in the initial structure and {final.symbols[n]} in the final one"
            + ("; the elements agree, their order does not: give both the same order of atoms" if same else "")
        )
    if (initial.pbc != final.pbc).any():
        given = f"{initial.pbc.tolist()} and {final.pbc.tolist()}"
        raise StructureError(f"the ends have different boundary conditions: {given}")
    if not np.allclose(initial.cell.array, final.cell.array, atol=1e-4):
        given = " and ".join(str(end.cell.cellpar().round(4).tolist()) for end in (initial, final))
        raise StructureError(f"the ends have different cells, {given}; a barrier needs both in one cell")
