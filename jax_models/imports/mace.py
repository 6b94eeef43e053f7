"""Networks trained with mace-torch, from their state dictionary: the same function, in another basis of products.

mace-torch's symmetric contraction sums over coupling paths that are not all independent once multiplied by equal
factors; its U matrices, which the state holds, are written in our basis of independent products by least squares,
exactly.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jax_models.contract import Contract
from jax_models.elements import SYMBOLS
from jax_models.errors import ModelFileError
from jax_models.imports.importer import HEAD, Importer, is_torch
from jax_models.message_passing.mace import INTERACTIONS, Layer
from jax_models.message_passing.symmetric_products import symmetric_products
from jax_models.models import build
from jax_models.potential import Potential

CITATION = "Batatia, Kovács, Simm, Ortner, Csányi, Advances in Neural Information Processing Systems 35 (2022)"


FOREIGN = ("joint_embedding", "embedding_readout", "linear_res", "source_embedding", "linear_mid", "bias", ".alpha")
"""In names of tensors of blocks that are not among ours."""
RECIPE = """
    import json
    from safetensors.torch import save_file
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, "mace.safetensors", metadata={
        "avg_num_neighbors": str(float(model.interactions[0].avg_num_neighbors)),
        "heads": json.dumps(list(model.heads)), "apply_cutoff": str(getattr(model, "apply_cutoff", True))})
"""


def potential_from_mace(
    path: str | os.PathLike, avg_num_neighbors: float | None = None, head: str | None = None
) -> Potential:
    """A `Potential` from the state dictionary of a mace-torch ``ScaleShiftMACE`` in a safetensors file.

    The file is made where mace-torch is installed (``RECIPE``). mace-torch keeps ``avg_num_neighbors`` and the names of
    heads out of the state, so they go into the metadata, or are given here.

    Args:
        path: the safetensors file.
        avg_num_neighbors: overrides the metadata.
        head: which one, of a network with several.

    Raises:
        ModelFileError: the file cannot be read, holds another architecture than `MACE` can be, or several heads of
            which none is chosen.

    Example:
        >>> potential_from_mace("mace.safetensors").save("mace.jaxff")  # doctest: +SKIP
    """
    from safetensors import SafetensorError, safe_open

    if is_torch(_beginning(path)):
        raise ModelFileError(
            f"{path} is a whole network of mace-torch, pickled: opening it would run the code that it names. Write its "
            f"numbers to a safetensors file where mace-torch is installed (model = torch.load(...)), and import that:"
            f"\n{RECIPE}"
        )
    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from None
    state = State(os.fspath(path), tensors)
    if metadata.get("apply_cutoff", "True") != "True":
        raise ModelFileError(f"{path}: apply_cutoff is {metadata['apply_cutoff']}; only True can be read")
    elements = tuple(SYMBOLS[int(z) - 1] for z in state.get("atomic_numbers"))
    cutoff = float(state.get("r_max"))
    state.one_head(len(elements), metadata, head)
    if avg_num_neighbors is None:
        try:
            avg_num_neighbors = float(metadata["avg_num_neighbors"])
        except (KeyError, ValueError):
            raise ModelFileError(
                f"{path} does not say avg_num_neighbors in its metadata; give it (--avg-num-neighbors)"
            ) from None
    architecture = architecture_of(state, len(elements))
    model: Any = build(architecture, elements, cutoff)
    layers = [_layer(state, t, layer) for t, layer in enumerate(model.layers)]
    last, channels = len(layers) - 1, model.node_embedding.shape[1]
    readouts = [state.matrix(f"readouts.{t}.linear.weight", channels, 1) for t in range(last)]
    width = model.last_readout.shape[0]
    readouts.append(state.matrix(f"readouts.{last}.linear_1.weight", channels, width))
    scale = np.asarray(state.get("scale_shift.scale"), float).reshape(())
    model = eqx.tree_at(
        lambda m: (m.node_embedding, m.layers, m.readouts, m.last_readout, m.energy_scale, m.neighbors_per_atom),
        model,
        (
            state.matrix("node_embedding.linear.weight", len(elements), channels),
            layers,
            readouts,
            state.matrix(f"readouts.{last}.linear_2.weight", width, 1),
            scale,
            np.asarray(float(avg_num_neighbors)),
        ),
    )
    if model.agnesi is not None:
        parameters, lengths = _transform(state)
        model = eqx.tree_at(lambda m: (m.agnesi, m.bond_lengths), model, (parameters, lengths))
    if model.priors:
        model = eqx.tree_at(lambda m: m.priors, model, [_repulsion(state, model.priors[0], float(scale), cutoff)])
    references = state.get("atomic_energies_fn.atomic_energies").reshape(-1) + float(
        state.get("scale_shift.shift").reshape(())
    )
    contract = Contract(elements, cutoff, layers=model.n_layers, kind=model.kind, citation=CITATION)
    provenance = {
        "imported": "mace-torch ScaleShiftMACE" + (f", head {head}" if head else ""),
        "license": metadata.get("license", ""),
        "dtype": str(state.get("node_embedding.linear.weight").dtype),
    }
    return Potential(contract, model, architecture, np.asarray(references, float), provenance)


def _beginning(path: str | os.PathLike) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from None


class State:
    """Tensors by name; one that is missing or of another size means another architecture."""

    def __init__(self, path: str, tensors: Mapping[str, np.ndarray]):
        self.path, self.tensors = path, dict(tensors)

    def get(self, name: str) -> np.ndarray:
        if name not in self.tensors:
            raise ModelFileError(
                f"{self.path} has no {name}: only ScaleShiftMACE with blocks of {', '.join(INTERACTIONS)} can be read"
            )
        return np.asarray(self.tensors[name])

    def matrix(self, name: str, *shape: int) -> np.ndarray:
        value = self.get(name)
        if value.size != np.prod(shape):
            raise ModelFileError(
                f"{self.path}: {name} holds {value.size} numbers where {' x '.join(map(str, shape))} are needed: it is "
                f"not a ScaleShiftMACE with blocks of {', '.join(INTERACTIONS)}"
            )
        return np.asarray(value, float).reshape(shape)

    def foreign(self) -> list[str]:
        """Names of tensors that our blocks have no place for."""
        return sorted(n for n, value in self.tensors.items() if value.size and any(part in n for part in FOREIGN))

    def one_head(self, n_elements: int, metadata: Mapping[str, str], head: str | None) -> None:
        """Keep one of several heads, as if the network had no other."""
        count = self.get("atomic_energies_fn.atomic_energies").size // n_elements
        names = _head_names(metadata, count)
        if head is None and count > 1:
            raise ModelFileError(f"{self.path} has the heads {', '.join(names)}; choose one (--head {names[0]})")
        if head is not None and head not in names:
            raise ModelFileError(f"{self.path} has no head {head}; it has {', '.join(names)}")
        if count == 1:
            return
        h = names.index(str(head))
        all_heads = dict(self.tensors)
        for name, value in all_heads.items():
            if name == "atomic_energies_fn.atomic_energies":
                value = value.reshape(count, n_elements)[h]
            elif name in ("scale_shift.scale", "scale_shift.shift") and value.size == count:
                value = value.reshape(count)[h]
            elif name.startswith("readouts.") and name.endswith(".linear.weight"):
                value = value.reshape(-1, count)[:, h]
            elif name.startswith("readouts.") and name.endswith(".linear_1.weight"):
                width = all_heads[name.replace("linear_1", "linear_2")].size // count
                value = value.reshape(-1, count, width // count)[:, h]
            elif name.startswith("readouts.") and name.endswith(".linear_2.weight"):
                # e3nn divides by the width of all heads together.
                value = value.reshape(count, -1, count)[h, :, h] / np.sqrt(count)
            self.tensors[name] = np.asarray(value)


def _head_names(metadata: Mapping[str, str], count: int) -> list[str]:
    """As the metadata lists them; their numbers where it does not."""
    try:
        names = [str(name) for name in json.loads(metadata["heads"])]
    except (KeyError, ValueError, TypeError):
        names = []
    return names if len(names) == count else [str(h) for h in range(count)]


def architecture_of(state: State, n_elements: int) -> dict[str, Any]:
    """The settings that the shapes of the tensors tell."""
    n_layers = int(state.get("num_interactions"))
    channels = state.get("node_embedding.linear.weight").size // n_elements
    contraction = "products.0.symmetric_contractions.contractions"
    degrees = sum(f"{contraction}.{ell}.weights_max" in state.tensors for ell in range(5))
    correlation = 1 + sum(f"{contraction}.0.weights.{n}" in state.tensors for n in range(4))
    max_ell = round(np.sqrt(state.get(f"{contraction}.0.U_matrix_1").shape[-2])) - 1
    radial: list[tuple[int, ...]] = []
    while f"interactions.0.conv_tp_weights.layer{len(radial)}.weight" in state.tensors:
        radial.append(state.get(f"interactions.0.conv_tp_weights.layer{len(radial)}.weight").shape)
    basis, cutoff = state.get("radial_embedding.bessel_fn.bessel_weights"), float(state.get("r_max"))
    if not radial or not np.allclose(basis, np.pi / cutoff * np.arange(1, len(basis) + 1), rtol=1e-5):
        raise ModelFileError(
            f"{state.path}: the radial basis is not mace-torch's fixed Bessel functions, which alone can be read"
        )
    if foreign := state.foreign():
        raise ModelFileError(
            f"{state.path} has {foreign[0]}: only ScaleShiftMACE with blocks of {', '.join(INTERACTIONS)} can be read"
        )
    priors: list[dict[str, Any]] = []
    if "pair_repulsion_fn.p" in state.tensors:
        power = int(state.get("pair_repulsion_fn.p"))
        priors = [{"name": "screened_coulomb", "inner": 0.0, "outer": cutoff, "switch": "polynomial", "power": power}]
    return {
        "name": "mace",
        "hidden_irreps": " + ".join(
            f"{channels}x{ell}{'eo'[ell % 2]}" for ell in range(degrees if n_layers > 1 else 1)
        ),
        "num_interactions": n_layers,
        "correlation": correlation,
        "max_ell": max_ell,
        "num_radial_basis": len(basis),
        "num_cutoff_basis": int(state.get("radial_embedding.cutoff_fn.p")),
        "radial_MLP": [shape[1] for shape in radial[:-1]],
        "MLP_irreps": f"{state.get(f'readouts.{n_layers - 1}.linear_2.weight').size}x0e",
        "interaction_first": _interaction(state, 0, channels**2 * n_elements * (max_ell + 1), max_ell),
        "interaction": _interaction(state, min(1, n_layers - 1), 0, max_ell) if n_layers > 1 else INTERACTIONS[0],
        "distance_transform": _distance_transform(state),
        "priors": priors,
    }


def _interaction(state: State, t: int, not_residual: int, max_ell: int) -> str:
    """The block of a layer: not residual where its weights by element are so many."""
    if max_ell == 0:
        raise ModelFileError(f"{state.path}: with max_ell 0 its tensors do not tell residual blocks from others")
    density = "Density" if f"interactions.{t}.density_fn.layer0.weight" in state.tensors else ""
    residual = "" if state.get(f"interactions.{t}.skip_tp.weight").size == not_residual else "Residual"
    return f"RealAgnostic{density}{residual}InteractionBlock"


def _distance_transform(state: State) -> str:
    prefix = "radial_embedding.distance_transform."
    if not any(name.startswith(prefix) for name in state.tensors):
        return "None"
    if f"{prefix}q" not in state.tensors:
        raise ModelFileError(f"{state.path}: of transforms of the distance only Agnesi's can be read")
    return "Agnesi"


def _layer(state: State, t: int, layer: Layer) -> Layer:
    block, product = f"interactions.{t}", f"products.{t}"
    channels, elements = layer.linear_up[0].shape[0], layer.skip[0].shape[0]
    contractions = [
        [
            _product_weights(
                state,
                f"{product}.symmetric_contractions.contractions.{degree}",
                order,
                len(orders),
                degree,
                layer.max_ell,
            )
            for order in range(1, len(orders) + 1)
        ]
        for degree, orders in enumerate(layer.product.weights)
    ]
    radial = [
        state.matrix(f"{block}.conv_tp_weights.layer{n}.weight", *w.shape) for n, w in enumerate(layer.radial_mlp)
    ]
    if layer.density_weights is not None:
        weights = state.matrix(f"{block}.density_fn.layer0.weight", *layer.density_weights.shape)
        layer = eqx.tree_at(lambda m: m.density_weights, layer, weights)
    return eqx.tree_at(
        lambda m: (m.linear_up, m.radial_mlp, m.linear, m.skip, m.product.weights, m.linear_out),
        layer,
        (
            _by_degree(state, f"{block}.linear_up.weight", [w.shape for w in layer.linear_up]),
            radial,
            _by_degree(state, f"{block}.linear.weight", [w.shape for w in layer.linear]),
            [
                w.transpose(1, 0, 2)
                for w in _by_degree(
                    state, f"{block}.skip_tp.weight", [(channels, elements, channels)] * len(layer.skip)
                )
            ],
            contractions,
            _by_degree(state, f"{product}.linear.weight", [w.shape for w in layer.linear_out]),
        ),
    )


def _by_degree(state: State, name: str, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    sizes = [int(np.prod(shape)) for shape in shapes]
    flat = state.matrix(name, sum(sizes))
    return [part.reshape(shape) for part, shape in zip(np.split(flat, np.cumsum(sizes)[:-1]), shapes, strict=True)]


def _product_weights(
    state: State, name: str, order: int, highest: int, degree: int, l_max: int
) -> Float[np.ndarray, "S P C"]:
    """mace-torch's weights of one order, written in our basis of products."""
    weights = state.get(f"{name}.weights_max" if order == highest else f"{name}.weights.{highest - 1 - order}")
    u = np.asarray(state.get(f"{name}.U_matrix_{order}"), float)
    u = u.reshape(2 * degree + 1, *[(l_max + 1) ** 2] * order, -1)
    basis = symmetric_products(l_max, order, degree)
    columns = sorted({index for polynomial in basis for index in polynomial})
    position = {index: n for n, index in enumerate(columns)}
    ours = np.zeros((len(basis), len(columns), 2 * degree + 1))
    for p, polynomial in enumerate(basis):
        for index, coefficients in polynomial.items():
            ours[p, position[index]] = coefficients
    theirs = np.zeros((u.shape[-1], len(columns), 2 * degree + 1))
    for factors in np.argwhere(np.abs(u).max(axis=(0, -1)) > 1e-9):
        key = tuple(sorted(map(int, factors)))
        if key in position:
            theirs[:, position[key]] += np.moveaxis(u, 0, -2)[tuple(factors)].T
    change = np.linalg.lstsq(ours.reshape(len(basis), -1).T, theirs.reshape(len(theirs), -1).T, rcond=None)[0]
    difference = np.abs(np.einsum("pk,pcm->kcm", change, ours) - theirs).max(initial=0.0)
    if difference > 1e-5:
        raise ModelFileError(
            f"{state.path}: {name}.U_matrix_{order} is not a basis of symmetric products of natural parity"
        )
    return np.einsum("pk,skc->spc", change, np.asarray(weights, float))


def _transform(state: State) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, "S S"]]:
    """Parameters and lengths (Å) of the Agnesi transform."""
    radii = np.asarray(state.get("radial_embedding.distance_transform.covalent_radii"), float)
    radii = radii[np.asarray(state.get("atomic_numbers"), int)]
    parameters = [float(state.get(f"radial_embedding.distance_transform.{name}")) for name in "aqp"]
    return np.array(parameters), 0.5 * np.add.outer(radii, radii)


def _repulsion(state: State, prior: Any, scale: float, cutoff: float) -> Any:
    """mace-torch's ZBL, which it scales as the network's output."""
    numbers = np.asarray(state.get("atomic_numbers"), int)
    get = lambda name: np.asarray(state.get(f"pair_repulsion_fn.{name}"), float)  # noqa: E731
    z, radii = numbers.astype(float), get("covalent_radii")[numbers]
    outer = np.add.outer(radii, radii)
    if outer.max() > cutoff:
        raise ModelFileError(f"{state.path}: its repulsion reaches {outer.max():g} Å, beyond r_max")
    lengths = get("a_prefactor") * 0.529 / np.add.outer(z ** get("a_exp"), z ** get("a_exp"))
    ones = np.ones_like(outer)
    return eqx.tree_at(
        lambda p: (p.charge, p.amplitudes, p.decays, p.inner, p.outer),
        prior,
        (
            scale * 14.3996 * np.outer(z, z),
            get("c")[:, None, None] * ones,
            np.array([3.2, 0.9423, 0.4028, 0.2016])[:, None, None] / lengths,
            0.0 * ones,
            outer,
        ),
    )


def recognises(path: Path, head: bytes) -> bool:
    """Whether this is mace-torch's: a state in safetensors, or a whole network, which is refused with a recipe."""
    if not is_torch(head):
        return path.suffix == ".safetensors" or b"symmetric_contractions" in head
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("data.pkl") and b"mace.modules" in file.read(name) for name in file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


IMPORTER = Importer(
    "MACE (mace-torch's state in safetensors)", recognises, potential_from_mace, ("avg_num_neighbors", "head")
)
