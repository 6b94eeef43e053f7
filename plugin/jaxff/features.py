"""Features without a potential: any descriptor on a list of structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from jax_models.elements import ATOMIC_NUMBERS, element_indices
from jax_models.errors import ConfigError, StructureError
from jax_models.interfaces import Descriptor
from jax_models.neighborhood import Neighborhood, bucket, neighborhood_of
from jaxff.feature_points import environments_at

if TYPE_CHECKING:
    from ase import Atoms

BLOCK = 256
"""Centres evaluated at once: temporaries stay in the processor's cache."""
DEFAULT_R_CUT = 5.0
GLOBAL = ("mbtr_global", "scattering")
"""Descriptors that have one row a structure."""


def describe(
    structures: Atoms | Sequence[Atoms],
    descriptor: str = "soap",
    *,
    r_cut: float | None = None,
    cutoff: float | None = None,
    elements: Sequence[str] | None = None,
    points: Sequence[Float[np.ndarray, "P 3"]] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Float[np.ndarray, "A F"]:
    """Features of every atom of every structure, one row an atom, in the order they come in; float64. With ``points``,
    one row a point.

    The global descriptors ``mbtr_global`` and ``scattering`` give one row a structure.

    Args:
        structures: ASE atoms, or a list of them; their own cells and periodicity count.
        descriptor: ``ace``, ``acsf``, ``chebyshev``, ``gmp``, ``mbtr``, ``mbtr_global``, ``power_spectrum``,
            ``scattering``, ``soap``, ...
        r_cut: Å. For descriptors that DScribe has, its meaning and its defaults are DScribe's, and so are the numbers:
            SOAP's atoms count beyond r_cut as far as their Gaussians reach in. 5 if neither this nor ``cutoff`` is
            given.
        cutoff: Å. The descriptor as a potential of this cutoff has it: its defaults, fading out smoothly.
        elements: chemical symbols, in the order of the features; those of the structures by atomic number if not given.
        points: for each structure, where to look from (Å, [P, 3]) instead of from its atoms; `jaxff.feature_points`
            gives the middles of bonds and grids.
        seed: for descriptors with learned parameters (ace): which random ones.
        **settings: the descriptor's own, e.g. ``n_max=8``.

    Raises:
        ConfigError: an unknown descriptor or setting, or one outside its range.
        StructureError: positions that are not finite, atoms on top of each other, an element not in ``elements``.

    Example:
        >>> from ase.build import bulk
        >>> from jaxff import describe
        >>> describe([bulk("Si"), bulk("Ge")], "soap", r_cut=4.0, n_max=4, l_max=2).shape
        (4, 108)
    """
    import jax

    given: Any = structures
    structures = [given] if hasattr(given, "positions") else list(given)
    if not structures:
        raise StructureError("there are no structures to describe")
    elements = _elements(structures, elements)
    if points is not None and descriptor in GLOBAL:
        raise ConfigError(f"{descriptor} describes whole structures; it has no features of points")
    if points is not None and len(points) != len(structures):
        raise ConfigError(f"there are points for {len(points)} structures, and {len(structures)} structures")
    if descriptor == "scattering":
        if r_cut is not None or cutoff is not None:
            raise ConfigError(
                "scattering sees the whole cell and has no cutoff; beta_0 and n_scales say how far it looks"
            )
        return _whole_cells(structures, elements, settings)
    if descriptor in GLOBAL:
        return np.stack(
            [_global(atoms, elements, r_cut if cutoff is None else cutoff, settings) for atoms in structures]
        )
    built = build_for(descriptor, elements, r_cut, cutoff, seed, settings)
    with jax.enable_x64(True):
        neighborhoods = []
        for number, atoms in enumerate(structures):
            if points is not None:
                neighborhoods.append(environments_at(atoms, points[number], elements, built.cutoff))
                continue
            species = element_indices(atoms.get_chemical_symbols(), elements)
            nb = neighborhood_of(atoms.positions, atoms.cell.array, atoms.pbc, species, built.cutoff)
            distance2 = np.sum(nb.vectors**2, axis=2)
            if (distance2[nb.mask] == 0).any():
                raise StructureError(f"structure {number} has two atoms at the same place; move or remove one of them")
            neighborhoods.append(nb)
        return _evaluate(built, neighborhoods, points is not None)


def feature_names(
    descriptor: str,
    *,
    r_cut: float | None = None,
    cutoff: float | None = None,
    elements: Sequence[str],
    seed: int = 0,
    **settings: Any,
) -> dict[str, np.ndarray]:
    """``names``: of each feature of `describe`, a JSON object that says what it is; nothing where the descriptor does
    not say it."""
    import json

    if descriptor == "mbtr_global":
        return {}
    if descriptor == "scattering":
        built = _scattering(tuple(elements), settings)
    else:
        built = build_for(descriptor, tuple(elements), r_cut, cutoff, seed, settings)
    named = getattr(built, "feature_names", None)
    return {} if named is None else {"names": np.array([json.dumps(name) for name in named])}


def build_for(
    descriptor: str,
    elements: tuple[str, ...],
    r_cut: float | None,
    cutoff: float | None,
    seed: int,
    settings: dict[str, Any],
) -> Any:
    """The descriptor; with ``r_cut`` its settings start from DScribe's, with ``cutoff`` from a potential's."""
    import jax

    from jax_models.descriptors import DESCRIPTORS
    from jax_models.models import build_descriptor

    if r_cut is not None and cutoff is not None:
        raise ConfigError("give r_cut (DScribe's meaning) or cutoff (a potential's), not both")
    given = cutoff if cutoff is not None else DEFAULT_R_CUT if r_cut is None else r_cut
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < np.inf:
        raise ConfigError(
            f"{'cutoff' if cutoff is not None else 'r_cut'} is {given!r}; it must be a positive distance in Å"
        )
    reach = float(given)
    kind: Any = DESCRIPTORS.get(descriptor)
    if cutoff is None and hasattr(kind, "reference_settings"):
        reach, settings = kind.reference_settings(reach, settings)
    settings = {"name": descriptor, **settings}
    return build_descriptor(settings, elements, reach, jax.random.PRNGKey(seed))


def _whole_cells(structures: Sequence[Atoms], elements: tuple[str, ...], settings: dict[str, Any]) -> np.ndarray:
    from jax_models.whole_cell import features_of

    built = _scattering(elements, settings)
    species = [element_indices(atoms.get_chemical_symbols(), elements) for atoms in structures]
    systems = [(a.positions, a.cell.array, a.pbc, s) for a, s in zip(structures, species, strict=True)]
    return features_of(built, systems)


def _scattering(elements: tuple[str, ...], settings: dict[str, Any]) -> Any:
    from jax_models.descriptors import WHOLE_CELL
    from jax_models.models import construct

    return construct(WHOLE_CELL, "descriptor", {"name": "scattering", **settings}, elements)


def _global(atoms: Atoms, elements: tuple[str, ...], r_cut: float | None, settings: dict[str, Any]) -> np.ndarray:
    import jax

    from jax_models.descriptors.mbtr import MBTR
    from jax_models.descriptors.mbtr_global import global_mbtr

    names = {"geometry", "grid", "weighting", "normalize_gaussians", "normalization"}
    if set(settings) - names:
        unknown = ", ".join(sorted(set(settings) - names))
        raise ConfigError(f"descriptor mbtr_global has no setting {unknown}; it has {', '.join(sorted(names))}")
    settings = {name: MBTR.defaults[name] for name in ("geometry", "grid", "weighting")} | settings
    reach, _ = MBTR.reference_settings(DEFAULT_R_CUT if r_cut is None else r_cut, settings)
    species = element_indices(atoms.get_chemical_symbols(), elements)
    numbers = np.array([ATOMIC_NUMBERS[e] for e in elements])
    volume = abs(np.linalg.det(atoms.cell.array)) if atoms.pbc.all() else None
    with jax.enable_x64(True):
        nb = neighborhood_of(atoms.positions, atoms.cell.array, atoms.pbc, species, reach)
        return np.asarray(global_mbtr(nb, numbers, reach, volume=volume, **settings))


def _elements(structures: Sequence[Atoms], elements: Sequence[str] | None) -> tuple[str, ...]:
    present = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    unknown = sorted((present | set(elements or ())) - set(ATOMIC_NUMBERS))
    if unknown:
        raise ConfigError(f"not a chemical element: {', '.join(unknown)}; use symbols such as Si")
    if elements is None:
        return tuple(sorted(present, key=ATOMIC_NUMBERS.__getitem__))
    missing = sorted(present - set(elements))
    if missing:
        raise StructureError(
            f"the structures hold {', '.join(missing)}, which is not among the elements {', '.join(elements)}"
        )
    return tuple(elements)


@eqx.filter_jit
def _features(built: Descriptor, neighborhood: Neighborhood, points: bool) -> Float[Array, "N F"]:
    # Compiled once for equal settings and shapes, however often `describe` is called.
    from jax_models.models import at_point

    return at_point(built, neighborhood) if points else built(neighborhood)


def _evaluate(built: Any, neighborhoods: list[Neighborhood], points: bool) -> np.ndarray:
    """All centres in blocks of equal shape: rows are independent, so structures may share a block."""
    width = bucket(max(nb.mask.shape[1] for nb in neighborhoods))
    n = sum(len(nb.species) for nb in neighborhoods)
    block = min(BLOCK, bucket(n, 16))
    rows = -(-n // block) * block
    everything = Neighborhood(
        np.zeros((rows, width, 3)),
        np.zeros(rows, np.int32),
        np.zeros((rows, width), np.int32),
        np.zeros((rows, width), bool),
    )
    start = 0
    for nb in neighborhoods:
        stop, k = start + len(nb.species), nb.mask.shape[1]
        everything.vectors[start:stop, :k] = nb.vectors
        everything.species[start:stop] = nb.species
        everything.neighbor_species[start:stop, :k] = nb.neighbor_species
        everything.mask[start:stop, :k] = nb.mask
        start = stop
    features = np.empty((rows, built.n_features))
    for at in range(0, rows, block):
        part = slice(at, at + block)
        features[part] = _features(built, Neighborhood(*(field[part] for field in everything[:4])), points)
    return features[:n]
