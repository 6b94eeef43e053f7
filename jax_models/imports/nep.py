"""Neuroevolution potentials of GPUMD (``nep.txt``): NEP3, NEP4 and NEP5, with and without ZBL.

A header of keywords, then one number a line: the networks, the coefficients of the radial functions, the scale of each
feature, and the parameters of a ZBL that was fitted. See https://gpumd.org/nep/output_files/nep_txt.html.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jax_models.contract import Contract
from jax_models.descriptors.nep import PRODUCTS
from jax_models.elements import ATOMIC_NUMBERS, SYMBOLS
from jax_models.errors import JaxffError, ModelFileError
from jax_models.imports.importer import Importer
from jax_models.models import build, completed
from jax_models.potential import Potential
from jax_models.units import COULOMB

CITATION = "Fan et al., J. Chem. Phys. 157, 114801 (2022); Song et al., Nat. Commun. 15, 10208 (2024)"
KIND = re.compile(r"nep([345])(_zbl)?$")
REFUSED = {
    "dipole": "it gives dipoles, not energies",
    "polarizability": "it gives polarizabilities, not energies",
    "temperature": "its energy depends on the temperature",
    "charge": "its charges (qNEP) interact over long distances",
    "vdw": "its dispersion (NEP-vdW) acts over long distances",
    "spin": "its energy depends on spins",
}
INVERSE_LENGTH = 2.134563
"""1/Å: of Z^0.23, in GPUMD's screening; LAMMPS has 1/0.46850."""

_RADII = (
    "32 46 120 94 77 75 71 63 64 67 140 125 113 104 110 102 99 96 176 154 133 122 121 110 107 104 100 99 101 109 "
    "112 109 115 110 114 117 189 167 147 139 132 124 115 113 113 108 115 123 128 126 126 123 132 131 209 176 162 147 "
    "158 157 156 155 151 152 151 150 149 149 148 153 146 137 131 123 118 116 111 112 113 132 130 130 136 131 138 142 "
    "201 181 167 158 152 153 154 155"
)
RADII = dict(zip(SYMBOLS, (float(f"{4 / 300 * int(r):.6g}") for r in _RADII.split()), strict=False))
"""Å: 4/3 of the covalent radii of D3 (Pyykkö and Atsumi, Chem. Eur. J. 15, 186, 2009; of metals 0.9), H to Pu, with the
six digits of GPUMD."""


def recognises(path: Path, head: bytes) -> bool:
    """Whether a file that begins so is one of GPUMD's potentials."""
    return re.match(rb"\s*nep\d\w*\s+\d+\s", head) is not None


def potential_from_nep(path: str | os.PathLike) -> Potential:
    """The `Potential` in a ``nep.txt`` of GPUMD.

    Raises:
        ModelFileError: the file cannot be read, is of a kind that is more than an energy of neighbours within the
            cutoff, or its numbers do not fit its header.

    Example:
        >>> potential_from_nep("nep.txt").save("nep.jaxff")  # doctest: +SKIP
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from None
    header = Header(os.fspath(path), iter([line.split() for line in lines if line.strip()]))
    numbers = Numbers(header, path)
    try:
        model: Any = build(header.architecture, header.elements, header.cutoff)
    except JaxffError as error:
        raise ModelFileError(f"{path}: {error}") from None
    model, constants = _filled(model, header, numbers)
    contract = Contract.of(model, header.elements, header.cutoff, citation=CITATION)
    provenance = {"imported": f"GPUMD {header.kind}", "license": "", "dtype": "float32"}
    return Potential(contract, model, completed(header.architecture), constants, provenance)


IMPORTER = Importer("NEP (GPUMD's nep.txt)", recognises, potential_from_nep)


class Header:
    """What the keywords say. ``lines`` are split lines; those of numbers are left."""

    def __init__(self, path: str, lines: Iterator[list[str]]):
        self.path, self.lines = path, lines
        self.kind, count, *symbols = self._line()
        known = KIND.match(self.kind)
        if not known:
            why = next((reason for word, reason in REFUSED.items() if word in self.kind), "this kind is not known")
            raise ModelFileError(f"{path} holds a potential of kind {self.kind}, which cannot be converted: {why}")
        self.version, zbl = int(known[1]), known[2] is not None
        self.elements = tuple(symbols)
        unknown = [symbol for symbol in symbols if symbol not in ATOMIC_NUMBERS]
        if unknown or count != str(len(symbols)) or len(set(symbols)) < len(symbols):
            raise ModelFileError(
                f"{path}: the first line does not list {count} different elements: {' '.join(symbols)}"
            )
        self.zbl = self._keyword("zbl", 2, 3) if zbl else []
        cutoffs = self._keyword("cutoff", 2, 4, 7, 2 * len(symbols) + 2)
        self.radial, self.angular, self.legacy_zbl_factor = self._cutoffs(cutoffs)
        self.n_max = self._integers("n_max", 2)
        self.basis_size = self._integers("basis_size", 2)
        l_max, *products = self._integers("l_max", 3, 4, 5, 6, 7)
        self.products = [name for name, flag in zip(PRODUCTS, products, strict=False) if flag]
        self.neurons, second = self._integers("ANN", 2)
        if second:
            raise ModelFileError(f"{path}: it has a second hidden layer, which cannot be converted")
        self.cutoff = float(max(self.radial.max(), self.angular.max()))
        self.architecture = {
            "descriptor": {
                "name": "nep",
                "radial_cutoff": float(self.radial.max()),
                "angular_cutoff": float(self.angular.max()),
                "n_max": list(self.n_max),
                "basis_size": list(self.basis_size),
                "l_max": l_max,
                "products": self.products,
                "pairwise_cutoffs": bool(np.ptp(self.radial) or np.ptp(self.angular)),
            },
            "readout": {"name": "mlp", "hidden": [self.neurons], "activation": "tanh"},
            "priors": [{"name": "screened_coulomb", "inner": 0.0, "outer": self.cutoff}] if zbl else [],
        }

    def _line(self) -> list[str]:
        try:
            return next(self.lines)
        except StopIteration:
            raise ModelFileError(f"{self.path} ends within its header") from None

    def _keyword(self, name: str, *counts: int) -> list[float]:
        """The numbers behind a keyword."""
        word, *values = self._line()
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            numbers = []
        if word != name or len(numbers) not in counts or not np.isfinite(numbers).all():
            raise ModelFileError(
                f"{self.path}: a line of {name} and {' or '.join(map(str, sorted(set(counts))))} numbers was expected, "
                f"not {' '.join([word, *values])!r}"
            )
        return numbers

    def _integers(self, name: str, *counts: int) -> list[int]:
        values = self._keyword(name, *counts)
        if any(value != int(value) or value < 0 for value in values):
            raise ModelFileError(f"{self.path}: {name} is {values}; whole numbers that are not negative were expected")
        return [int(value) for value in values]

    def _cutoffs(self, values: list[float]) -> tuple[np.ndarray, np.ndarray, float]:
        """Radial and angular cutoffs of pairs [S, S], and the factor for ZBL of files before 2025 (0: none)."""
        n = len(self.elements)
        if len(values) == 2 * n + 2:
            own = np.reshape(values[: 2 * n], (n, 2))
            radial, angular = (0.5 * np.add.outer(column, column) for column in own.T)
        else:
            radial, angular = (np.full((n, n), value) for value in values[:2])
        factors = values[4:] if len(values) == 7 else [0.0, 0.0, 0.0]
        if factors[0] > 0:
            radii = self._radii()
            radial, angular = np.minimum(radii * factors[0], radial), np.minimum(radii * factors[1], angular)
        if min(radial.min(), angular.min()) <= 0:
            raise ModelFileError(f"{self.path}: the cutoffs are not positive")
        return radial, angular, factors[2]

    def _radii(self) -> Float[np.ndarray, "S S"]:
        """Sums of two covalent radii (Å)."""
        missing = [element for element in self.elements if element not in RADII]
        if missing:
            raise ModelFileError(f"{self.path}: cutoffs by covalent radii, which {', '.join(missing)} has not")
        radii = [RADII[element] for element in self.elements]
        return np.add.outer(radii, radii)

    def zbl_switch(self) -> tuple[np.ndarray, np.ndarray]:
        """Inner and outer distances of pairs (Å) of a ZBL that was not fitted."""
        inner, end, *factor = self.zbl
        shape = (len(self.elements),) * 2
        if factor or self.legacy_zbl_factor > 0:
            outer = np.minimum(self._radii() * (factor[0] if factor else self.legacy_zbl_factor), end)
            # GPUMD changed this distance together with the place of the factor in the file.
            return (0.0 if factor else 0.5) * outer, outer
        return np.full(shape, inner), np.full(shape, end)


class Numbers:
    """The numbers behind the header, taken in order."""

    def __init__(self, header: Header, path: str | os.PathLike):
        try:
            self.left = np.array([float(word) for line in header.lines for word in line])
        except ValueError as error:
            raise ModelFileError(f"{path}: among its numbers stands something else: {error}") from None
        if not np.isfinite(self.left).all():
            raise ModelFileError(f"{path}: its numbers are not all finite")
        self.path, self.total, self.taken = path, len(self.left), 0

    def take(self, *shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        self.taken += count
        if count > len(self.left):
            raise ModelFileError(f"{self.path} holds {self.total} numbers, and its header asks for more")
        found, self.left = self.left[:count], self.left[count:]
        return found.reshape(shape)

    def end(self) -> None:
        if len(self.left):
            raise ModelFileError(f"{self.path} holds {self.total} numbers, and its header asks for {self.taken}")


def _filled(model: Any, header: Header, numbers: Numbers) -> tuple[Any, Float[np.ndarray, " S"]]:
    """``model`` with the file's numbers, and the constant energy of each element (eV)."""
    n, features, neurons = len(header.elements), model.descriptor.n_features, header.neurons
    networks = []
    for _ in range(1 if header.version == 3 else n):
        first, bias, last = numbers.take(neurons, features), numbers.take(neurons), numbers.take(neurons)
        networks.append((first.T, -bias, last[:, None], -numbers.take(1)[0] if header.version == 5 else 0.0))
    first, bias, last, constant = (np.stack(np.broadcast_arrays(*parts)) for parts in zip(*networks, strict=True))
    if header.version == 3:  # one network for all elements
        first, bias, last, constant = (np.repeat(part, n, axis=0) for part in (first, bias, last, constant))
    constants = constant - numbers.take(1)[0]
    radial, angular = (
        numbers.take(n_max + 1, size + 1, n, n).transpose(2, 3, 0, 1)
        for n_max, size in zip(header.n_max, header.basis_size, strict=True)
    )
    scale = numbers.take(features)
    priors = [_repulsion(prior, header, numbers) for prior in model.priors]
    numbers.end()
    cutoffs = None if model.descriptor.pair_cutoffs is None else np.stack([header.radial, header.angular])
    zero = np.zeros((n, features))
    model = eqx.tree_at(
        lambda m: (
            m.descriptor.radial_weights, m.descriptor.angular_weights, m.descriptor.pair_cutoffs,
            m.readout.weights, m.readout.biases, m.readout.linear.weights, m.readout.linear.bias,
            m.feature_mean, m.feature_scale, m.priors,
        ),
        model,
        (
            radial, angular, cutoffs,
            [first, last], [bias, np.zeros((n, 1))], zero, np.zeros(n),
            np.zeros(features), scale, priors,
        ),
        is_leaf=lambda leaf: leaf is None,
    )  # fmt: skip
    return model, constants


def _repulsion(prior: Any, header: Header, numbers: Numbers) -> Any:
    """GPUMD's ZBL, universal or fitted."""
    z = np.array([ATOMIC_NUMBERS[element] for element in header.elements], float)
    n = len(z)
    amplitudes = np.array([0.18175, 0.50986, 0.28022, 0.02817])[:, None, None] * np.ones((4, n, n))
    decays = np.array([3.1998, 0.94229, 0.4029, 0.20162])[:, None, None] * np.ones((4, n, n))
    if header.zbl[:2] == [0.0, 0.0]:
        fitted = np.zeros((n, n, 10))
        for i, j in zip(*np.triu_indices(n), strict=True):
            fitted[i, j] = fitted[j, i] = numbers.take(10)
        inner, outer = fitted[..., 0], fitted[..., 1]
        amplitudes, decays = (np.moveaxis(fitted[..., first::2], -1, 0) for first in (2, 3))
    else:
        inner, outer = header.zbl_switch()
    if not (0 <= inner).all() or not (inner < outer).all() or outer.max() > header.angular.max():
        raise ModelFileError(
            f"{header.path}: its ZBL ends between {outer.min()} and {outer.max()} Å; that must be above its beginning "
            f"and at most the angular cutoff of {header.angular.max()} Å, up to which GPUMD sees it"
        )
    lengths = np.add.outer(z**0.23, z**0.23) * INVERSE_LENGTH
    return eqx.tree_at(
        lambda p: (p.charge, p.amplitudes, p.decays, p.inner, p.outer),
        prior,
        (COULOMB * np.outer(z, z), amplitudes, decays * lengths, inner, outer),
    )
