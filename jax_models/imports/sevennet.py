"""SevenNet checkpoints (.pth), as a `NequIP`: SevenNet-0, SevenNet-l3i5 and others of one task.

SevenNet is e3nn's NequIP with features of even parity. e3nn divides sums by the root of their fan-in when it evaluates
and scales activations to unit second moment; both are multiplied into the weights here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from jax_models.basis.angular import real_coupling
from jax_models.contract import Contract
from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError, ModelFileError
from jax_models.imports.importer import Importer, is_torch
from jax_models.imports.nequix import from_sorted
from jax_models.imports.torch_file import read_torch
from jax_models.message_passing.mace import SILU_SCALE
from jax_models.message_passing.nequip import Layer
from jax_models.models import build
from jax_models.potential import Potential

CITATION = "Park, Kim, Hwang, Han, J. Chem. Theory Comput. 20, 4857 (2024)"
LICENSE = "MIT (SevenNet and the potentials that come with it)"
INERT = (
    "torch.device",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
)
"""What the settings hold beside numbers and text; nothing of it is read."""
REQUIRED: dict[str, tuple[Any, ...]] = {
    "is_parity": (False,),
    "interaction_type": ("nequip",),
    "use_bias_in_linear": (False,),
    "readout_as_fcn": (False,),
    "act_radial": ("silu",),
    "_normalize_sph": (True,),
    "use_modality": (False,),
    "lmax_edge": (-1,),
    "lmax_node": (-1,),
}
"""Settings, where present, that the network here has fixed."""


def potential_from_sevennet(path: Path) -> Potential:
    """A `Potential` from a checkpoint of SevenNet.

    Raises:
        ModelFileError: it cannot be read, or holds another network than `NequIP` can be.

    Example:
        >>> potential_from_sevennet("checkpoint_sevennet_0.pth").save("sevennet.jaxff")  # doctest: +SKIP
    """
    checkpoint = read_torch(path, INERT)
    if not isinstance(checkpoint, dict) or not {"config", "model_state_dict"} <= set(checkpoint):
        raise ModelFileError(f"{path} is not a checkpoint of SevenNet: it needs config and model_state_dict")
    state, settings = State(str(path), checkpoint["model_state_dict"]), checkpoint["config"]
    try:
        architecture = _architecture(settings)
        numbers = {symbol: ATOMIC_NUMBERS[symbol] for symbol in settings["chemical_species"]}
        elements = tuple(sorted(numbers, key=lambda symbol: settings["_type_map"][numbers[symbol]]))
        cutoff = float(settings["cutoff"])
        old = tuple(int(part) for part in str(settings["version"]).split(".")[:2]) < (0, 11)
        model: Any = eqx.filter_eval_shape(lambda: build(architecture, elements, cutoff))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelFileError(f"{path}: the network that its config describes cannot be read: {error!r}") from None
    n, channels = len(elements), model.embedding.shape[1]
    features = state.matrix("onehot_to_feature_x.linear.weight", n, channels) / np.sqrt(n)
    sent = features @ state.matrix("0_self_interaction_1.linear.weight", channels, channels) / np.sqrt(channels)
    layers = [_layer(state, t, layer, features if t == 0 else None, old) for t, layer in enumerate(model.layers)]
    width = state.get("reduce_hidden_to_energy.linear.weight").size
    hidden = state.matrix("reduce_input_to_hidden.linear.weight", model.readout.shape[0], width)
    readout = hidden @ state.matrix("reduce_hidden_to_energy.linear.weight", width, 1)
    scale = state.get("rescale_atomic_energy.scale")
    if not np.all(scale == scale.flat[0]):
        raise ModelFileError(f"{path}: its elements have different rescale_atomic_energy.scale, which cannot be read")
    denominators = [state.matrix(f"{t}_convolution.denominator") for t in range(len(layers))]
    if any(d != denominators[0] for d in denominators):
        raise ModelFileError(f"{path}: its layers have different convolution.denominator, which cannot be read")
    model = eqx.tree_at(
        lambda m: (m.embedding, m.wave_numbers, m.layers, m.readout, m.energy_scale, m.neighbors_per_atom),
        model,
        (
            sent,
            state.matrix("edge_embedding.basis_function.coeffs", model.wave_numbers.shape[0]),
            layers,
            readout * (SILU_SCALE / np.sqrt(model.readout.shape[0] * width)),
            np.asarray(float(scale.flat[0])),
            denominators[0] ** 2,
        ),
    )
    references = np.array(np.broadcast_to(state.get("rescale_atomic_energy.shift"), n), float)
    contract = Contract(elements, cutoff, layers=model.n_layers, kind=model.kind, citation=CITATION)
    provenance = {"imported": "SevenNet", "license": LICENSE, "dtype": "float32"}
    return Potential(contract, model, architecture, references, provenance)


def _architecture(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of `NequIP`.

    Raises:
        ConfigError: one that `NequIP` does not have.
    """
    for name, allowed in REQUIRED.items():
        if name in settings and settings[name] not in allowed:
            raise ConfigError(f"{name} is {settings[name]!r}; only {' or '.join(map(repr, allowed))} can be read")
    for name in ("act_gate", "act_scalar"):
        if settings[name]["e"] != "silu":
            raise ConfigError(f"{name} is {settings[name]['e']!r}; only silu can be read")
    layers, l_max = int(settings["num_convolution_layer"]), int(settings["lmax"])
    irreps = settings["irreps_manual"]
    if irreps is False:
        hidden = "+".join(f"{settings['channel']}x{ell}e" for ell in range(l_max + 1))
        irreps = [f"{settings['channel']}x0e", *[hidden] * (layers - 1), f"{settings['channel']}x0e"]
    first, *between, last = map(str, irreps)
    hidden = between[0] if between else last
    if any(text != hidden for text in between) or not first.endswith("x0e") or hidden.split("+")[0] != last:
        raise ConfigError(f"irreps_manual is {irreps}; layers of different irreps cannot be read")
    self_connection = settings["self_connection_type"]
    kinds = set([self_connection] if isinstance(self_connection, str) else self_connection)
    if kinds != {"linear"}:
        raise ConfigError(f"self_connection_type is {self_connection!r}; only 'linear' can be read")
    basis, cut = settings["radial_basis"], settings["cutoff_function"]
    if basis["radial_basis_name"] != "bessel" or cut["cutoff_function_name"] not in ("poly_cut", "XPLOR"):
        raise ConfigError(f"radial_basis {basis} with cutoff_function {cut}; only bessel, poly_cut, XPLOR can be read")
    xplor = cut["cutoff_function_name"] == "XPLOR"
    return {
        "name": "nequip",
        "hidden_irreps": hidden,
        "embedding_channels": int(first.removesuffix("x0e")),
        "num_layers": layers,
        "l_max": l_max,
        "num_bessels": int(basis.get("bessel_basis_num", 8)),
        "radial_mlp": list(settings["weight_nn_hidden_neurons"]),
        "self_connection": "linear",
        "cutoff_fn": "xplor" if xplor else "polynomial",
        **(
            {"xplor_start": float(cut["cutoff_on"])} if xplor else {"polynomial_p": int(cut.get("poly_cut_p_value", 6))}
        ),
    }


def _layer(state: State, t: int, layer: Layer, features: np.ndarray | None, old: bool) -> Layer:
    """Layer ``t``; ``features`` of the elements, where they are its input."""
    radial = []
    for n, w in enumerate(layer.radial_mlp):
        weights = state.matrix(f"{t}_convolution.weight_nn.layer{n}.weight", *w.shape) / np.sqrt(w.shape[0])
        radial.append(weights * (SILU_SCALE if n else 1.0))
    # Until version 0.11 paths stood in the order of the features that they couple.
    radial[-1] = (radial[-1] if old else from_sorted(layer, radial[-1])) * _signs(state, t, layer)
    into, out = layer.channels_in, layer.before_gate
    gain = 1.0 if features is not None else SILU_SCALE
    connection = state.by_degree(f"{t}_self_connection_intro.linear.weight", list(zip(into, out, strict=False)))
    up = state.by_degree(f"{t}_self_interaction_1.linear.weight", [(c, c) for c in into])
    linear = state.by_degree(f"{t}_self_interaction_2.linear.weight", [w.shape for w in layer.linear])
    parts = (
        radial,
        [] if features is not None else [gain * w for w in up],
        linear,
        [features @ connection[0]] if features is not None else [gain * w[None] for w in connection],
    )
    return eqx.tree_at(lambda m: (m.radial_mlp, m.linear_up, m.linear, m.self_connection), layer, parts)


def _signs(state: State, t: int, layer: Layer) -> np.ndarray:
    """-1 for the radial functions of paths whose coupling, which older files hold, has the other sign there."""
    signs = []
    for l1, l2, results in layer.paired:
        for l3 in results:
            theirs = state.find(f"{t}_convolution.convolution._compiled_main_left_right._w3j_{l1}_{l2}_{l3}")
            sign = 1.0 if theirs is None else float(np.sign(np.sum(theirs * real_coupling(l1, l2, l3))))
            if theirs is not None and not np.allclose(theirs, sign * real_coupling(l1, l2, l3), atol=1e-5):
                raise ModelFileError(f"{state.path}: its coupling _w3j_{l1}_{l2}_{l3} is not e3nn's")
            signs.append(np.full(layer.channels_in[l1], sign))
    return np.concatenate(signs)


class State:
    """Tensors by name; one that is missing or of another size means another network."""

    def __init__(self, path: str, tensors: dict[str, np.ndarray]):
        self.path, self._tensors = path, {_new_name(name): value for name, value in tensors.items()}

    def find(self, name: str) -> np.ndarray | None:
        return self._tensors.get(name)

    def get(self, name: str) -> np.ndarray:
        value = self.find(name)
        if value is None:
            raise ModelFileError(f"{self.path} has no {name}: it is another network than its config says")
        if not np.isfinite(value).all():
            raise ModelFileError(f"{self.path}: {name} is not finite")
        return np.asarray(value, float)

    def matrix(self, name: str, *shape: int) -> np.ndarray:
        value = self.get(name)
        if value.size != np.prod(shape):
            raise ModelFileError(f"{self.path}: {name} holds {value.size} numbers where {list(shape)} are needed")
        return value.reshape(shape)

    def by_degree(self, name: str, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        """e3nn's linear layer: a matrix for each degree in one piece, divided by the root of its fan-in."""
        sizes = [int(np.prod(shape)) for shape in shapes]
        parts = np.split(self.matrix(name, sum(sizes)), np.cumsum(sizes)[:-1])
        return [part.reshape(shape) / np.sqrt(shape[0]) for part, shape in zip(parts, shapes, strict=True)]


def _new_name(name: str) -> str:
    """Modules had blanks in their names until version 0.10."""
    module, _, rest = name.partition(".")
    old = {
        "EdgeEmbedding": "edge_embedding",
        "reducing nn input to hidden": "reduce_input_to_hidden",
        "reducing nn hidden to energy": "reduce_hidden_to_energy",
        "rescale atomic energy": "rescale_atomic_energy",
    }
    return f"{old.get(module, module.replace(' ', '_'))}.{rest.replace('denumerator', 'denominator')}"


def _recognises(path: Path, head: bytes) -> bool:
    return is_torch(head) and b".basis_function.coeffs" in head


IMPORTER = Importer("SevenNet (.pth)", _recognises, potential_from_sevennet)
