"""TensorNet of matgl: ``model.json``, which holds the settings, and ``state.pt`` beside it, which holds the tensors.

matgl has changed its convention once. Its embedding takes a linear layer of the embeddings of two atoms, side by side.
In models of version 1 (matgl 2, with PyTorch Geometric) the neighbour comes first, in version 2 (matgl 3) the atom
itself; matgl 3 and 4 evaluate files of version 1 with a warning and other energies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from jax_models.contract import Contract
from jax_models.errors import ConfigError, ModelFileError
from jax_models.imports.importer import Importer, is_torch
from jax_models.imports.torch_file import read_torch
from jax_models.message_passing.network import Dense
from jax_models.message_passing.tensornet import Embedding, Interaction, LayerNorm, Readout
from jax_models.models import build, completed
from jax_models.potential import Potential

CITATION = (
    "Simeon, De Fabritiis, Advances in Neural Information Processing Systems 36 (2023); "
    "Ko et al., npj Computational Materials 11, 253 (2025)"
)
MATPES = "; Kaplan et al., arXiv:2503.04070 (2025)"
LICENSE = "BSD-3-Clause (matgl, Materials Virtual Lab)"
SETTINGS, STATE = "model.json", "state.pt"
REQUIRED = {
    "rbf_type": "SphericalBessel",
    "use_smooth": True,
    "activation_type": "swish",
    "equivariance_invariance_group": "O(3)",
    "is_intensive": False,
    "include_state": False,
    "task_type": "regression",
    "ntargets": 1,
}
"""Settings of matgl's TensorNet that `TensorNet` is written for."""


def potential_from_tensornet(path: Path) -> Potential:
    """A `Potential` from either file of a matgl ``Potential`` of a TensorNet; the other is found beside it.

    Args:
        path: of ``model.json`` or ``state.pt``; what stands before these words is equal in both names.

    Raises:
        ModelFileError: a file is missing or damaged, or the network is another than `TensorNet` can be.
    """
    settings_path, state_path = _both(path)
    settings = _settings(settings_path)
    network = settings["kwargs"]["model"]
    arguments = network["init_args"]
    state = _State(state_path, read_torch(state_path))
    for name in ("calc_repuls", "calc_magmom", "calc_charge"):
        if settings["kwargs"].get(name):
            raise ModelFileError(f"{settings_path} has {name}, which cannot be converted")
    for name, value in REQUIRED.items():
        if arguments.get(name, value) != value:
            raise ModelFileError(f"{settings_path}: {name} is {arguments[name]!r}; only {value!r} can be converted")
    if state.get("data_mean", ()) != 0.0:
        raise ModelFileError(f"{state_path}: data_mean is not 0, and an energy that belongs to no atom has no place")
    elements = tuple(arguments["element_types"])
    architecture = {
        "name": "tensornet",
        "units": arguments["units"],
        "nblocks": arguments["nblocks"],
        "n_rbf": arguments["max_n"],
        "cutoff_fn": "cosine",
    }
    architecture = completed(architecture)
    try:
        cutoff = float(arguments["cutoff"])
        model: Any = build(architecture, elements, cutoff)
    except (ConfigError, TypeError, ValueError) as error:
        raise ModelFileError(f"{settings_path}: {error}") from None
    blocks = [_interaction(state, f"model.layers.{t}", block) for t, block in enumerate(model.blocks)]
    model = eqx.tree_at(
        lambda m: (m.embedding, m.blocks, m.readout, m.energy_scale),
        model,
        (
            _embedding(state, model.embedding, neighbor_first=network["@model_version"] == 1),
            blocks,
            _readout(state, model.readout),
            state.get("data_std", ()),
        ),
    )
    references = np.zeros(len(elements))
    if "element_refs.property_offset" in state.tensors:
        references = state.get("element_refs.property_offset", (len(elements),))
    about_matpes = "matpes" in settings_path.name.lower()
    contract = Contract(
        elements, cutoff, layers=model.n_layers, kind=model.kind, citation=CITATION + MATPES * about_matpes
    )
    dtype = str(state.tensors["model.linear.weight"].dtype)
    provenance = {"imported": f"matgl TensorNet {settings_path.name}", "license": LICENSE, "dtype": dtype}
    return Potential(contract, model, architecture, references, provenance)


def _both(path: Path) -> tuple[Path, Path]:
    """Where the settings and the state are."""
    for word, other in ((SETTINGS, STATE), (STATE, SETTINGS)):
        if path.name.endswith(word):
            beside = path.with_name(path.name.removesuffix(word) + other)
            if not beside.exists():
                raise ModelFileError(f"{path} needs {beside.name} beside it, which is missing")
            return (path, beside) if word == SETTINGS else (beside, path)
    raise ModelFileError(f"{path} must be named ...{SETTINGS} or ...{STATE}, so that the other file can be found")


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
        network = settings["kwargs"]["model"]
        kind = settings["@class"], network["@class"]
        for name in ("element_types", "units", "nblocks", "max_n", "cutoff"):
            network["init_args"][name]
        version = network["@model_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is not the {SETTINGS} of a matgl Potential, or is damaged: {error}") from None
    if kind != ("Potential", "TensorNet"):
        raise ModelFileError(
            f"{path} holds a {kind[0]} of a {kind[1]}; only a Potential of a TensorNet can be converted"
        )
    if not (version == 1 and str(network.get("@module", "")).endswith("_pyg") or version == 2):
        raise ModelFileError(
            f"{path}: version {version} of {network.get('@module')} is not known here; models of matgl 2 with PyTorch "
            "Geometric (version 1) and of matgl 3 and 4 (version 2) are"
        )
    return settings


class _State:
    """Tensors by name."""

    def __init__(self, path: Path, tensors: Any):
        self.path, self.tensors = path, tensors
        if not isinstance(tensors, dict) or "model.linear.weight" not in tensors:
            raise ModelFileError(f"{path} is not the state of a matgl Potential")

    def get(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in self.tensors:
            raise ModelFileError(f"{self.path} has no {name}")
        value = np.asarray(self.tensors[name], float)
        if value.shape != shape:
            raise ModelFileError(f"{self.path}: {name} has the shape {value.shape}; the settings say {shape}")
        if not np.isfinite(value).all():
            raise ModelFileError(f"{self.path}: {name} holds numbers that are not finite")
        return value

    def weights(self, name: str, n_in: int, n_out: int) -> np.ndarray:
        """Of a linear layer; torch has the outputs first."""
        return self.get(f"{name}.weight", (n_out, n_in)).T

    def dense(self, name: str, layer: Dense, parts_last: bool = False) -> Dense:
        """A linear layer. With ``parts_last`` matgl's outputs are (channel, part), where ours are (part, channel)."""
        n_in, n_out = layer.weights.shape
        weights, bias = self.weights(name, n_in, n_out), self.get(f"{name}.bias", (n_out,))
        if parts_last:
            order = np.arange(n_out).reshape(-1, 3).T.reshape(-1)
            weights, bias = weights[:, order], bias[order]
        return eqx.tree_at(lambda d: (d.weights, d.bias), layer, (weights, bias))

    def layer_norm(self, name: str, layer: LayerNorm) -> LayerNorm:
        shape = layer.weights.shape
        found = self.get(f"{name}.weight", shape), self.get(f"{name}.bias", shape)
        return eqx.tree_at(lambda n: (n.weights, n.bias), layer, found)

    def mixing(self, name: str, layers: range, n: int) -> list[np.ndarray]:
        return [self.weights(f"{name}.linears_tensor.{p}", n, n) for p in layers]


def _embedding(state: _State, layer: Embedding, neighbor_first: bool) -> Embedding:
    name = "model.tensor_embedding"
    n_rbf, n = layer.distance.weights.shape[0], layer.elements.shape[1]
    pair = state.dense(f"{name}.emb2", layer.pair)
    if neighbor_first:
        pair = eqx.tree_at(lambda d: d.weights, pair, np.roll(pair.weights, n, axis=0))
    parts = [f"{name}.distance_proj{p}" for p in (1, 2, 3)]
    distance = eqx.tree_at(
        lambda d: (d.weights, d.bias),
        layer.distance,
        (
            np.concatenate([state.weights(part, n_rbf, n) for part in parts], axis=1),
            np.concatenate([state.get(f"{part}.bias", (n,)) for part in parts]),
        ),
    )
    gates = [state.dense(f"{name}.linears_scalar.{p}", gate, p == 1) for p, gate in enumerate(layer.gates)]
    return eqx.tree_at(
        lambda m: (m.elements, m.pair, m.distance, m.mixing, m.norm, m.gates),
        layer,
        (
            state.get(f"{name}.emb.weight", layer.elements.shape),
            pair,
            distance,
            state.mixing(name, range(3), n),
            state.layer_norm(f"{name}.init_norm", layer.norm),
            gates,
        ),
    )


def _interaction(state: _State, name: str, layer: Interaction) -> Interaction:
    n = layer.before[0].shape[0]
    radial = [state.dense(f"{name}.linears_scalar.{p}", dense, p == 2) for p, dense in enumerate(layer.radial)]
    return eqx.tree_at(
        lambda m: (m.radial, m.before, m.after),
        layer,
        (radial, state.mixing(name, range(3), n), state.mixing(name, range(3, 6), n)),
    )


def _readout(state: _State, layer: Readout) -> Readout:
    gated = "model.final_layer.gated"
    values, gates = (
        [state.dense(f"{gated}.{kind}.{2 * p}", dense) for p, dense in enumerate(layers)]
        for kind, layers in (("layers", [*layer.values, layer.last]), ("gates", [*layer.gates, layer.last_gate]))
    )
    return eqx.tree_at(
        lambda m: (m.norm, m.features, m.values, m.last, m.gates, m.last_gate),
        layer,
        (
            state.layer_norm("model.out_norm", layer.norm),
            state.dense("model.linear", layer.features),
            values[:-1],
            values[-1],
            gates[:-1],
            gates[-1],
        ),
    )


def _recognises(path: Path, head: bytes) -> bool:
    if path.name.endswith(STATE):
        return is_torch(head)
    return path.name.endswith(SETTINGS) and b"matgl." in head


IMPORTER = Importer("TensorNet (matgl's model.json or state.pt)", _recognises, potential_from_tensornet)
