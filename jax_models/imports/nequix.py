"""Nequix (.nqx): a line of JSON and the leaves of an Equinox tree, as a `NequIP`.

Nequix is e3nn-jax's NequIP with a layer normalisation. e3nn divides sums by the root of their fan-in when it evaluates
and scales activations to unit second moment; both are multiplied into the weights here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import equinox as eqx
import numpy as np

from jax_models.contract import Contract
from jax_models.elements import SYMBOLS
from jax_models.errors import ConfigError, ModelFileError
from jax_models.imports.importer import Importer
from jax_models.message_passing.nequip import Layer
from jax_models.models import build
from jax_models.potential import Potential

CITATION = "Koker, Kotak, Smidt, Training a Foundation Model for Materials on a Budget, arXiv:2508.16067 (2025)"
LICENSE = "MIT (Nequix); CC-BY-4.0 (its published checkpoints, by their entry in Matbench Discovery)"
SILU_SCALE = 1.6765647703084872
"""1 / sqrt of silu's second moment under a normal distribution, as e3nn-jax estimates it (jax.nn.silu, single)."""


def potential_from_nequix(path: Path) -> Potential:
    """A `Potential` from a file that ``nequix.model.save_model`` wrote.

    Raises:
        ModelFileError: it cannot be read, or holds another network than `NequIP` can be.

    Example:
        >>> potential_from_nequix("nequix-mp-1.nqx").save("nequix.jaxff")  # doctest: +SKIP
    """
    try:
        with Path(path).open("rb") as file:
            return _read(str(path), file)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from None


def _read(path: str, file: BinaryIO) -> Potential:
    settings = _settings(path, file.readline())
    leaves = Leaves(path, file)
    try:
        elements = tuple(SYMBOLS[int(z) - 1] for z in sorted(settings["atomic_numbers"]))
        cutoff, natural = float(settings["cutoff"]), "o" in str(settings["hidden_irreps"])
        species = bool(settings["index_weights"])
        architecture: dict[str, Any] = {
            "name": "nequip",
            "hidden_irreps": settings["hidden_irreps"],
            "embedding_channels": len(elements),
            "num_layers": settings["n_layers"],
            "l_max": settings["lmax"],
            "num_bessels": settings["radial_basis_size"],
            "radial_mlp": [settings["radial_mlp_size"]] * int(settings["radial_mlp_layers"]),
            "self_connection": "species" if species else "linear",
            "layer_norm": bool(settings["layer_norm"]),
            "polynomial_p": int(settings["radial_polynomial_p"]),
        }
        if not natural or architecture["polynomial_p"] != settings["radial_polynomial_p"]:
            raise ConfigError("only natural parities and whole powers of the cutoff can be read")
        scale, shift, neighbors = (float(settings[name]) for name in ("scale", "shift", "avg_n_neighbors"))
        model: Any = eqx.filter_eval_shape(lambda: build(architecture, elements, cutoff))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelFileError(f"{path}: the network that its first line describes cannot be read: {error!r}") from None
    n = len(elements)
    references = leaves.next(n)
    waves = np.arange(1, model.wave_numbers.shape[0] + 1) * (np.pi / cutoff)
    embedding, layers = None, []
    for t, layer in enumerate(model.layers):
        layer, sent = _layer(leaves, layer, n if t == 0 else 0, species)
        embedding = sent if t == 0 else embedding
        layers.append(layer)
    readout = leaves.next(*model.readout.shape) * (SILU_SCALE / np.sqrt(model.readout.shape[0]))
    leaves.finish()
    model = eqx.tree_at(
        lambda m: (m.embedding, m.wave_numbers, m.layers, m.readout, m.energy_scale, m.neighbors_per_atom),
        model,
        (embedding, waves, layers, readout, np.asarray(scale), np.asarray(neighbors)),
    )
    contract = Contract(elements, cutoff, layers=model.n_layers, kind=model.kind, citation=CITATION)
    provenance = {"imported": "Nequix", "license": LICENSE, "dtype": "float32"}
    return Potential(contract, model, architecture, references + shift, provenance)


def _settings(path: str, line: bytes) -> dict[str, Any]:
    try:
        settings = json.loads(line)
    except ValueError:
        raise ModelFileError(f"{path}: its first line is not JSON, so it is not a file of Nequix") from None
    if not isinstance(settings, dict):
        raise ModelFileError(f"{path}: its first line is no JSON object, so it is not a file of Nequix")
    return settings


def _layer(leaves: Leaves, layer: Layer, elements: int, species: bool) -> tuple[Layer, np.ndarray | None]:
    """The layer, and of the first one (where ``elements`` is not 0) also what each element sends."""
    radial = [leaves.next(*w.shape) for w in layer.radial_mlp]
    radial[-1] = from_sorted(layer, radial[-1])
    up = [leaves.next(c, c) / np.sqrt(c) for c in layer.channels_in]
    linear = [leaves.next(*w.shape) / np.sqrt(w.shape[0]) for w in layer.linear]
    skip = []
    for c, out in zip(layer.channels_in, layer.before_gate, strict=False):
        shape = (len(leaves.atoms), c, out) if species else (c, out)
        skip.append(leaves.next(*shape) / np.sqrt(c))
    norm = None if layer.norm is None else [leaves.next(*w.shape) for w in layer.norm]
    if elements:  # the features are one number for each element, 1 for the atom's own
        table = skip[0][np.arange(elements), np.arange(elements)] if species else skip[0]
        up, sent, connection = [], up[0], [table]
    else:
        up, sent = [SILU_SCALE * w for w in up], None
        connection = [SILU_SCALE * (w if species else w[None]) for w in skip]
    parts = (radial, up, linear, connection, norm)
    return eqx.tree_at(
        lambda m: (m.radial_mlp, m.linear_up, m.linear, m.self_connection, m.norm),
        layer,
        parts,
        is_leaf=lambda leaf: leaf is None,
    ), sent


def from_sorted(layer: Layer, weights: np.ndarray) -> np.ndarray:
    """Columns of the last radial matrix in our order, from e3nn's: paths sorted by the degree of their result."""
    ours = [(l1, l2, l3) for l1, l2, results in layer.paired for l3 in results]
    starts, end = {}, 0
    for path in sorted(ours, key=lambda path: path[2]):
        starts[path] = end
        end += layer.channels_in[path[0]]
    return np.concatenate([weights[:, starts[p] : starts[p] + layer.channels_in[p[0]]] for p in ours], axis=1)


class Leaves:
    """The arrays of a file, one after another."""

    def __init__(self, path: str, file: BinaryIO):
        self._path, self._file, self._count = path, file, 0
        self.atoms = np.zeros(0)

    def next(self, *shape: int) -> np.ndarray:
        """The next array, in double.

        Raises:
            ModelFileError: there is none, or of another shape.
        """
        try:
            array = np.load(self._file, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ModelFileError(f"{self._path} ends or is damaged at array {self._count}: {error}") from None
        if array.shape != shape or not np.issubdtype(array.dtype, np.floating):
            raise ModelFileError(
                f"{self._path}: array {self._count} is {array.dtype}{list(array.shape)} where its first line says "
                f"{list(shape)}: it is not a network of this kind of Nequix"
            )
        if not np.isfinite(array).all():
            raise ModelFileError(f"{self._path}: array {self._count} is not finite")
        self.atoms = array if self._count == 0 else self.atoms
        self._count += 1
        return np.asarray(array, float)

    def finish(self) -> None:
        """Raises:
        ModelFileError: something follows.
        """
        if self._file.read(1):
            raise ModelFileError(f"{self._path} holds more than the {self._count} arrays that its first line says")


def _recognises(path: Path, head: bytes) -> bool:
    return head.startswith(b"{") and (path.suffix == ".nqx" or b'"radial_polynomial_p"' in head)


IMPORTER = Importer("Nequix (.nqx)", _recognises, potential_from_nequix)
