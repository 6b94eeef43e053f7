"""Read, write and verify a .jaxff file.

A zip of ``model.json`` (contract and architecture), ``weights.safetensors``, ``check.json`` (a small structure with its
energy, forces and virial, evaluated again at load), ``provenance.json`` and, where there are any,
``uncertainty.safetensors`` (grade, members, calibration) and ``stablehlo/`` (functions written by others). Every
member's SHA-256 stands in ``model.json``, whose own stands in the zip's comment: a changed byte is noticed, whatever it
would have meant.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import equinox as eqx
import jax
import numpy as np
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as format_safetensors

from jax_models.contract import SCHEMA_VERSION, Contract
from jax_models.errors import JaxffError, ModelFileError, StructureError
from jax_models.exported import ExportedModel
from jax_models.models import build
from jax_models.neighborhood import Neighborhood
from jax_models.precision import model_in
from jax_models.uncertainty import Uncertainty

COMMENT = b"jaxff sha256:"
UNCERTAINTY = "uncertainty.safetensors"
TOLERANCE = 1e-6
"""Relative agreement asked of the check values, evaluated in double precision on any machine."""


class ForceField(Protocol):
    """What is kept in a file: a `jax_models.Potential`."""

    @property
    def contract(self) -> Contract: ...
    @property
    def model(self) -> eqx.Module: ...
    @property
    def architecture(self) -> dict[str, Any]: ...
    @property
    def reference_energies(self) -> np.ndarray: ...
    @property
    def provenance(self) -> dict[str, Any]: ...
    @property
    def uncertainty(self) -> Uncertainty | None: ...

    def evaluate(self, positions: Any, cell: Any, periodic: Any, symbols: list[str]) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Contents:
    """What a file holds, proven by its checksums and rebuilt; ``check`` is still to be compared with (see `verify`)."""

    contract: Contract
    model: eqx.Module
    architecture: dict[str, Any]
    reference_energies: np.ndarray
    provenance: dict[str, Any]
    uncertainty: Uncertainty | None
    check: dict[str, Any]


def write(potential: ForceField, path: str | os.PathLike) -> None:
    """Write ``potential`` to ``path``; an existing file is replaced only by a complete one.

    Raises:
        ModelFileError: the file cannot be written (no space, no permission), or the potential gives numbers that
            are not finite.
    """
    write_atomically(path, to_bytes(potential))


def to_bytes(potential: ForceField) -> bytes:
    """The bytes of the file. The same potential gives the same bytes.

    Raises:
        ModelFileError: the potential gives numbers that are not finite.
    """
    members = {
        "weights.safetensors": format_safetensors(_named_arrays(potential.model)),
        "check.json": _json(_check_values(potential)),
        "provenance.json": _json(potential.provenance),
    }
    if potential.uncertainty is not None:
        members[UNCERTAINTY] = format_safetensors(potential.uncertainty.arrays())
    if isinstance(potential.model, ExportedModel):
        members |= {f"stablehlo/energies_{dtype}.bin": data for dtype, data in potential.model.artifacts.items()}
    model = {
        "contract": potential.contract.to_dict(),
        "architecture": potential.architecture,
        "reference_energies": [float(e) for e in potential.reference_energies],
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    members = {"model.json": _json(model), **members}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data)  # with a fixed date
        file.comment = COMMENT + hashlib.sha256(members["model.json"]).hexdigest().encode()
    return archive.getvalue()


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write a file under a temporary name beside ``path``, then rename it: never half a file, never a lost one.

    Raises:
        ModelFileError: it cannot be written; what was at ``path`` is still there.
    """
    path = Path(path)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's own mode is private
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        kept = "; the file that was there is unchanged" if path.exists() else ""
        raise ModelFileError(f"cannot write {path}: {error.strerror or error}{kept}") from None


def read_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of the file at ``path``.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from None


def parse(data: bytes, name: str | os.PathLike) -> Contents:
    """What the bytes of a ``.jaxff`` file hold.

    Args:
        data: the bytes.
        name: of the file, for messages.

    Raises:
        ModelFileError: corrupt, written by a newer version, or not a .jaxff file.
    """
    model, members = _unpack(name, data)
    try:
        version = int(model["contract"]["schema_version"])
        if version > SCHEMA_VERSION:
            raise ModelFileError(
                f"it has schema version {version}, this jaxff reads up to {SCHEMA_VERSION}: install a newer jaxff"
            )
        contract = Contract.from_dict(model["contract"])
        rebuilt = _rebuild(model["architecture"], contract, members)
        return Contents(
            contract=contract,
            model=rebuilt,
            architecture=model["architecture"],
            reference_energies=np.array(model["reference_energies"], float),
            provenance=json.loads(members["provenance.json"]),
            uncertainty=_uncertainty(members, contract, rebuilt),
            check=json.loads(members["check.json"]),
        )
    except (KeyError, TypeError, ValueError, JaxffError) as error:
        raise ModelFileError(f"cannot use {name}: {error}") from None


def _unpack(path: str | os.PathLike, data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """model.json and the other members, all proven by their hashes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            comment = file.comment
            members = {name: file.read(name) for name in file.namelist()}
        contents = members.pop("model.json")
        if comment != COMMENT + hashlib.sha256(contents).hexdigest().encode():
            raise ModelFileError(f"{path} is corrupt: model.json does not match its checksum")
        model = json.loads(contents)
        for name, digest in model["sha256"].items():
            if hashlib.sha256(members[name]).hexdigest() != digest:
                raise ModelFileError(f"{path} is corrupt: {name} does not match its checksum")
        return model, {name: members[name] for name in model["sha256"]}
    except ModelFileError:
        raise
    except Exception as error:  # zipfile raises a dozen types on damaged archives, none of them a user's concern
        raise ModelFileError(f"{path} is not a .jaxff file, or is corrupt: {error or type(error).__name__}") from None


def _rebuild(architecture: dict[str, Any], contract: Contract, members: dict[str, bytes]) -> eqx.Module:
    if architecture.get("name") == "exported":
        prefix, suffix = "stablehlo/energies_", ".bin"
        return ExportedModel(
            {n[len(prefix) : -len(suffix)]: data for n, data in members.items() if n.startswith(prefix)}
        )
    skeleton = eqx.filter_eval_shape(build, architecture, contract.elements, contract.cutoff)
    arrays = parse_safetensors(members["weights.safetensors"])
    leaves, structure = jax.tree_util.tree_flatten_with_path(skeleton)
    filled = []
    for tree_path, leaf in leaves:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            name = jax.tree_util.keystr(tree_path)
            if name not in arrays:
                raise ModelFileError(f"the weights lack {name}")
            if arrays[name].shape != leaf.shape:
                raise ModelFileError(f"the weights {name} have shape {arrays[name].shape}, not {leaf.shape}")
            leaf = arrays.pop(name)
        filled.append(leaf)
    if arrays:
        raise ModelFileError(f"the weights hold {', '.join(sorted(arrays))}, which the architecture has no place for")
    return jax.tree_util.tree_unflatten(structure, filled)


def _uncertainty(members: dict[str, bytes], contract: Contract, model: Any) -> Uncertainty | None:
    if UNCERTAINTY not in members:
        return None
    if not hasattr(model, "energies_and_features"):
        raise ModelFileError(f"it has {UNCERTAINTY}, and a model without features of atoms")
    n_head = sum(np.size(leaf) for leaf in jax.tree.leaves(model.head())) if hasattr(model, "head") else 0
    one = np.zeros((1, 1), np.int32)
    alone = Neighborhood(np.ones((1, 1, 3), np.float32), one[0], one, one > 0, one)
    n_features = jax.eval_shape(model_in(model, np.float32).energies_and_features, alone)[1].shape[1]
    found = parse_safetensors(members[UNCERTAINTY])
    return Uncertainty.from_arrays(found, len(contract.elements), n_head, n_features)


def _named_arrays(model: eqx.Module) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(model, eqx.is_array))
    return {jax.tree_util.keystr(path): np.asarray(leaf, order="C") for path, leaf in leaves}


def _check_values(potential: ForceField) -> dict[str, Any]:
    """A small periodic structure with every element (up to eight), and what the potential says of it."""
    elements = potential.contract.elements
    n = min(max(4, len(elements)), 8)
    symbols = [elements[i % len(elements)] for i in range(n)]
    # Uneven spacings about half a cutoff: no symmetry that could hide a sign or a swapped axis.
    step = min(0.5 * potential.contract.cutoff, 2.5)
    generator = np.random.default_rng(0)
    positions = step * (
        np.array([[i % 2, i // 2 % 2, i // 4] for i in range(n)]) + generator.uniform(-0.12, 0.12, (n, 3))
    )
    cell = step * np.array([[2.3, 0.0, 0.0], [0.2, 2.4, 0.0], [-0.1, 0.3, 2.5]])
    try:
        values = potential.evaluate(positions, cell, True, symbols)
    except StructureError as failure:
        raise ModelFileError(f"the potential fails for a small test structure ({failure}); it is not saved") from None
    if not np.isfinite(values["virial"]).all():
        raise ModelFileError("the virial of a small test structure is not finite; the potential is not saved")
    return {
        "symbols": symbols,
        "positions": positions.tolist(),
        "cell": cell.tolist(),
        "energy": float(values["energy"]),
        "forces": values["forces"].tolist(),
        "virial": values["virial"].tolist(),
    }


def verify(potential: ForceField, check: dict[str, Any], path: str | os.PathLike) -> None:
    """Evaluate the check structure again and compare with ``check``, as `parse` found it.

    Raises:
        ModelFileError: the numbers differ; ``path`` names the file.
    """
    structure = np.array(check["positions"]), np.array(check["cell"]), True, check["symbols"]
    try:
        now = potential.evaluate(*structure)
    except StructureError as failure:
        raise ModelFileError(f"{path} does not reproduce itself here: {failure}") from None
    for name in ("energy", "forces", "virial"):
        then = np.array(check[name])
        scale = max(1.0, float(np.abs(then).max()))
        error = float(np.abs(now[name] - then).max()) if np.isfinite(now[name]).all() else np.inf
        if not error <= TOLERANCE * scale:
            raise ModelFileError(
                f"{path} does not reproduce itself here: the {name} of its check structure is off by {error:.2e} "
                f"(of {scale:.2e}). Its architecture may have changed between versions of jaxff"
            )


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()
