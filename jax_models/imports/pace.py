"""Potentials of pacemaker for LAMMPS's pair_style pace (``.yace``), exactly: no splines stand between.

The file lists coefficients of products of complex densities; they become coefficients of products of real ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import yaml

from jax_models.cluster_expansion.embedding import EMBEDDINGS
from jax_models.cluster_expansion.pace import INNER, PACE
from jax_models.cluster_expansion.radial_bases import RADIAL_BASES
from jax_models.cluster_expansion.real_products import Products, Terms
from jax_models.contract import Contract
from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ModelFileError
from jax_models.imports.importer import Importer
from jax_models.models import build
from jax_models.potential import Potential

CITATION = "Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021); Drautz, Phys. Rev. B 99, 014104 (2019)"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Bonds are keyed by lists of two elements, which Python takes as tuples alone."""


_Loader.add_constructor("tag:yaml.org,2002:seq", lambda loader, node: tuple(loader.construct_sequence(node, deep=True)))


def recognises(path: Path, head: bytes) -> bool:
    """Whether this is a file of pacemaker's coefficients."""
    return path.suffix == ".yace" or (b"deltaSplineBins" in head and b"elements:" in head)


def potential_from_pace(path: str | os.PathLike) -> Potential:
    """The `Potential` in a ``.yace`` file.

    Raises:
        ModelFileError: the file cannot be read, or has a radial basis, an embedding or an inner cutoff that is not
            known here.

    Example:
        >>> potential_from_pace("Cu.yace").save("Cu.jaxff")  # doctest: +SKIP
    """
    try:
        contents = yaml.load(Path(path).read_text(), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelFileError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    try:
        return _potential(contents, str(path))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelFileError(f"{path} is not a complete .yace file: {type(error).__name__} {error}") from None


IMPORTER = Importer("PACE (pacemaker's .yace)", recognises, potential_from_pace)


def _potential(contents: dict[str, Any], path: str) -> Potential:
    elements = tuple(map(str, contents["elements"]))
    if unknown := [element for element in elements if element not in ATOMIC_NUMBERS]:
        raise ModelFileError(f"{path}: not a chemical element: {', '.join(unknown)}")
    s = len(elements)
    bonds = {(i, j): _bond(contents["bonds"], i, j, path) for i in range(s) for j in range(s)}
    embeddings = [_embedding(contents["embeddings"][i], path) for i in range(s)]
    most = lambda key: max(int(bond[key]) for bond in bonds.values())  # noqa: E731
    n_base, n_radial, l_max = most("nradbasemax"), most("nradmax"), most("lmax")
    densities = max(int(embedding["ndensity"]) for embedding in embeddings)
    pairs, products = _functions(contents["functions"], s, densities, n_base, n_radial, l_max, path)
    inner = {bond.get("inner_cutoff_type", "density") for bond in bonds.values()}
    if len(inner) > 1 or not inner <= set(INNER):
        raise ModelFileError(
            f"{path} has inner cutoffs of type {', '.join(sorted(map(str, inner)))}; only "
            f"{' or '.join(INNER)} can be converted"
        )
    cutoff = max(float(bond["rcut"]) for bond in bonds.values())
    architecture = {
        "name": "pace",
        "radial": sorted({_basis(bond) for bond in bonds.values()}),
        "embedding": sorted({embedding["npoti"] for embedding in embeddings}),
        "n_base": n_base,
        "n_radial": n_radial,
        "l_max": l_max,
        "densities": densities,
        "products": [len(parents) for parents in products.parents],
        "inner": inner.pop(),
    }
    model: Any = build(architecture, elements, cutoff)
    model = _filled(model, bonds, embeddings, pairs, products)
    references = np.asarray(contents["E0"], float)
    if references.shape != (s,):
        raise ModelFileError(f"{path} gives {references.size} energies E0 for {s} elements")
    contract = Contract(elements, cutoff, layers=1, kind=model.kind, citation=CITATION)
    provenance = {"imported": "pacemaker .yace", "license": "", "dtype": "float64"}
    return Potential(contract, model, architecture, references, provenance)


def _basis(bond: dict[str, Any]) -> str:
    return "SBessel" if bond["radbasename"] == "TEST_SBessel" else bond["radbasename"]


def _bond(bonds: dict[tuple[int, int], dict[str, Any]], i: int, j: int, path: str) -> dict[str, Any]:
    bond = bonds[i, j]
    if _basis(bond) not in RADIAL_BASES:
        raise ModelFileError(
            f"{path} has the radial basis {bond['radbasename']}, which cannot be converted; "
            f"{', '.join(RADIAL_BASES)} can"
        )
    return bond


def _embedding(embedding: dict[str, Any], path: str) -> dict[str, Any]:
    if embedding["npoti"] not in EMBEDDINGS:
        raise ModelFileError(
            f"{path} has the embedding function {embedding['npoti']}, which cannot be converted; "
            f"{', '.join(EMBEDDINGS)} can"
        )
    return embedding


def _functions(
    functions: dict[int, Any], s: int, densities: int, n_base: int, n_radial: int, l_max: int, path: str
) -> tuple[np.ndarray, Products]:
    """Coefficients of the radial basis' sums [S P, S K], and the products of densities."""
    pairs = np.zeros((s * densities, s * n_base))
    terms = Terms(s * densities, n_radial, l_max)
    for center in range(s):
        for function in functions.get(center, ()):
            rank, p = int(function["rank"]), int(function["ndensity"])
            mus, ns, ls = (np.array(function[key], int).reshape(rank) for key in ("mus", "ns", "ls"))
            ms = np.array(function["ms_combs"], int).reshape(-1, rank)
            values = np.array(function["ctildes"], float).reshape(len(ms), p)
            highest = n_base if rank == 1 else n_radial
            good = (0 <= mus).all() and (mus < s).all() and (1 <= ns).all() and (ns <= highest).all()
            if not (good and (0 <= ls).all() and (ls <= l_max).all() and (np.abs(ms) <= ls).all() and p <= densities):
                raise ModelFileError(f"{path}: a function of {mus} {ns} {ls} has indices that its bonds do not have")
            if rank == 1:
                row = slice(center * densities, center * densities + p)
                pairs[row, mus[0] * n_base + ns[0] - 1] += values[0]
            else:
                terms.add(center * densities, mus, ns - 1, ls, ms, values)
    return pairs, terms.products(s * n_radial * (l_max + 1) ** 2)


def _filled(model: PACE, bonds, embeddings, pairs, products: Products) -> PACE:
    s, densities = len(embeddings), model.densities
    weights = np.zeros(model.radial_weights.shape)
    tables = {name: np.zeros((s, s)) for name in model.bonds}
    basis = np.zeros(model.basis_of_bond.shape)
    for (i, j), bond in bonds.items():
        given = np.array(bond["radcoefficients"], float)
        given = given[: int(bond["nradmax"]), : int(bond["lmax"]) + 1, : int(bond["nradbasemax"])]
        n, ell, k = given.shape
        weights[:ell, i, j, :n, :k] = given.transpose(1, 0, 2)
        basis[model.radial.index(_basis(bond)), i, j] = 1.0
        inner_end = float(bond.get("rcut_in", 0.0))
        values = (
            bond["rcut"], bond["dcut"], bond["radparameters"][0], inner_end, bond.get("dcut_in", 1e-5),
            bond["prehc"], bond["lambdahc"],
        )  # fmt: skip
        for name, value in zip(model.BOND, values, strict=True):
            tables[name][i, j] = float(value)
    embedding_weights, exponents = np.zeros((s, densities)), np.ones((s, densities))
    embedding_of, core = np.zeros((len(model.embedding), s)), np.zeros((2, s))
    for i, embedding in enumerate(embeddings):
        p = int(embedding["ndensity"])
        embedding_weights[i, :p], exponents[i, :p] = (
            np.array(embedding["FS_parameters"], float)[: 2 * p].reshape(p, 2).T
        )
        embedding_of[model.embedding.index(embedding["npoti"]), i] = 1.0
        core[:, i] = float(embedding["rho_core_cutoff"]), float(embedding["drho_core_cutoff"])
    return eqx.tree_at(
        lambda m: (
            m.radial_weights, m.bonds, m.basis_of_bond, m.pair_coefficients, m.coefficients, m.parents, m.factors,
            m.embedding_weights, m.exponents, m.embedding_of, m.core,
        ),
        model,
        (
            weights, tables, basis, pairs, products.coefficients, products.parents, products.factors,
            embedding_weights, exponents, embedding_of, core,
        ),
    )  # fmt: skip
