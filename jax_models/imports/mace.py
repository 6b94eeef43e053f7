"""Networks trained with mace-torch, from their state dictionary: the same function, in another basis of products.

mace-torch's symmetric contraction sums over coupling paths that are not all independent once multiplied by equal
factors; its U matrices, which the state holds, are written in our basis of independent products by least squares,
exactly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jax_models.contract import Contract
from jax_models.elements import SYMBOLS
from jax_models.errors import ModelFileError
from jax_models.imports.importer import Importer
from jax_models.message_passing.mace import Layer
from jax_models.message_passing.symmetric_products import symmetric_products
from jax_models.models import build
from jax_models.potential import Potential

CITATION = "Batatia, Kovács, Simm, Ortner, Csányi, Advances in Neural Information Processing Systems 35 (2022)"


def potential_from_mace(path: str | os.PathLike, avg_num_neighbors: float | None = None) -> Potential:
    """A `Potential` from the state dictionary of a mace-torch ``ScaleShiftMACE`` in a safetensors file.

    The file is made where mace-torch is installed; mace-torch keeps ``avg_num_neighbors`` out of the state, so it goes
    into the metadata, or is given here::

        from safetensors.torch import save_file
        state = {k: v.contiguous() for k, v in model.state_dict().items()}
        save_file(state, "mace.safetensors", metadata={"avg_num_neighbors":
        str(model.interactions[0].avg_num_neighbors)})

    Args:
        path: the safetensors file.
        avg_num_neighbors: overrides the metadata.

    Raises:
        ModelFileError: the file cannot be read, or holds another architecture than `MACE` can be.

    Example:
        >>> potential_from_mace("mace.safetensors").save("mace.jaxff")  # doctest: +SKIP
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"cannot read {path}: {error}") from None
    if avg_num_neighbors is None:
        try:
            avg_num_neighbors = float(metadata["avg_num_neighbors"])
        except (KeyError, ValueError):
            raise ModelFileError(
                f"{path} does not say avg_num_neighbors in its metadata; give it (--avg-num-neighbors)"
            ) from None
    state = State(os.fspath(path), tensors)
    elements = tuple(SYMBOLS[int(z) - 1] for z in state.get("atomic_numbers"))
    cutoff = float(state.get("r_max"))
    architecture = architecture_of(state, len(elements))
    model: Any = build(architecture, elements, cutoff)
    layers = [_layer(state, t, layer) for t, layer in enumerate(model.layers)]
    last, channels = len(layers) - 1, model.node_embedding.shape[1]
    readouts = [state.matrix(f"readouts.{t}.linear.weight", channels, 1) for t in range(last)]
    width = model.last_readout.shape[0]
    readouts.append(state.matrix(f"readouts.{last}.linear_1.weight", channels, width))
    model = eqx.tree_at(
        lambda m: (m.node_embedding, m.layers, m.readouts, m.last_readout, m.energy_scale, m.neighbors_per_atom),
        model,
        (
            state.matrix("node_embedding.linear.weight", len(elements), channels),
            layers,
            readouts,
            state.matrix(f"readouts.{last}.linear_2.weight", width, 1),
            np.asarray(state.get("scale_shift.scale"), float).reshape(()),
            np.asarray(float(avg_num_neighbors)),
        ),
    )
    references = state.get("atomic_energies_fn.atomic_energies").reshape(-1) + float(
        state.get("scale_shift.shift").reshape(())
    )
    contract = Contract(elements, cutoff, layers=model.n_layers, kind=model.kind, citation=CITATION)
    provenance = {
        "imported": "mace-torch ScaleShiftMACE",
        "dtype": str(state.get("node_embedding.linear.weight").dtype),
    }
    return Potential(contract, model, architecture, np.asarray(references, float), provenance)


class State:
    """Tensors by name; one that is missing or of another size means another architecture."""

    def __init__(self, path: str, tensors: Mapping[str, np.ndarray]):
        self.path, self.tensors = path, tensors

    def get(self, name: str) -> np.ndarray:
        if name not in self.tensors:
            raise ModelFileError(
                f"{self.path} has no {name}: only ScaleShiftMACE with RealAgnosticResidualInteractionBlock in "
                "every layer "
                "and one head can be read"
            )
        return np.asarray(self.tensors[name])

    def matrix(self, name: str, *shape: int) -> np.ndarray:
        value = self.get(name)
        if value.size != np.prod(shape):
            raise ModelFileError(
                f"{self.path}: {name} holds {value.size} numbers where {' x '.join(map(str, shape))} are "
                "needed: it is not a "
                "ScaleShiftMACE with RealAgnosticResidualInteractionBlock in every layer and one head"
            )
        return np.asarray(value, float).reshape(shape)


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
    }


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


IMPORTER = Importer(
    "MACE (mace-torch's state in safetensors)",
    lambda path, head: path.suffix == ".safetensors" or b"symmetric_contractions" in head,
    potential_from_mace,
    ("avg_num_neighbors",),
)
