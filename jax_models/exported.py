"""Potentials from anyone's JAX function, kept as StableHLO: they run without the code that wrote them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array, Float

from jax_models.contract import Contract
from jax_models.derivatives import energies_and_gradient
from jax_models.errors import ConfigError, ModelFileError
from jax_models.neighborhood import Neighborhood

DTYPES = ("float32", "float64")
ALLOWED_CALLS = {"shape_assertion", "Sharding", "mhlo.topk", "stablehlo.dynamic_top_k", "lapack_ssyevd_ffi"}
"""Custom calls an artifact may hold. Anything else could call into the host process, and is refused."""
CALL = re.compile(r'custom_call @(?:"([^"]*)"|([\w.$-]+))|call_target_name = "([^"]*)"')


class ExportedModel(eqx.Module):
    """An energy function as serialised StableHLO, one artifact for each compute type, N and K symbolic.

    An artifact holds the function and its derivatives, each a module of its own; all of them are searched for calls.

    Raises:
        ModelFileError: an artifact is missing, cannot be read, or calls into the host.
    """

    artifacts: dict[str, bytes] = eqx.field(static=True)
    functions: dict[str, export.Exported] = eqx.field(static=True)

    def __init__(self, artifacts: dict[str, bytes]):
        self.artifacts = artifacts
        self.functions = {}
        for dtype in DTYPES:
            if dtype not in artifacts:
                raise ModelFileError(f"the exported function lacks its {dtype} version")
            try:
                function = export.deserialize(bytearray(artifacts[dtype]))
                calls = _custom_calls(function)
            except Exception as error:  # flatbuffers and MLIR have their own exception types
                raise ModelFileError(f"the exported function ({dtype}) cannot be read: {error}") from None
            if calls - ALLOWED_CALLS:
                raise ModelFileError(
                    f"the exported function calls {', '.join(sorted(calls - ALLOWED_CALLS))}, which is not allowed"
                )
            self.functions[dtype] = function

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        return self.functions[str(neighborhood.vectors.dtype)].call(*neighborhood[:4])


def _custom_calls(function: export.Exported | None) -> set[str]:
    """Targets of the custom calls of a function and of all derivatives that are kept with it."""
    calls: set[str] = set()
    while function is not None:
        # Both spellings: `stablehlo.custom_call @name(...)` and the generic `{call_target_name = "name", ...}`.
        for names in CALL.findall(function.mlir_module()):
            calls.add("".join(names))
        function = function.vjp() if function.has_vjp() else None
    return calls


def exported_model(
    energy: Callable[[Neighborhood], Float[Array, " N"]], elements: Sequence[str], cutoff: float, **contract: Any
) -> tuple[Contract, ExportedModel]:
    """The contract and the model of a local potential from a plain JAX function; see `Potential.from_function`.

    Raises:
        ConfigError: as there.
    """
    declared = Contract(elements=tuple(elements), cutoff=float(cutoff), **contract)
    if declared.kind != "local":
        raise ConfigError(f"kind is {declared.kind!r}; a function of a Neighborhood makes a local potential")
    _check_function(energy, declared)

    def exportable(vectors, species, neighbor_species, mask):
        return energy(Neighborhood(vectors, species, neighbor_species, mask))

    artifacts = {}
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            n, k = export.symbolic_shape("N, K")
            arguments = [
                jax.ShapeDtypeStruct(shape, kind)
                for shape, kind in (((n, k, 3), dtype), ((n,), "int32"), ((n, k), "int32"), ((n, k), "bool"))
            ]
            try:
                exported = export.export(jax.jit(exportable), platforms=("cpu", "cuda"))(*arguments)
                artifacts[dtype] = bytes(exported.serialize(vjp_order=2))
            except Exception as error:  # whatever the user's own code or JAX's shape arithmetic raises
                raise ConfigError(f"the function cannot be exported for any N and K: {error}") from error
    return declared, ExportedModel(artifacts)


def _check_function(energy: Callable, contract: Contract) -> None:
    """Try ``energy`` on random environments: shape, finiteness, indifference to padding."""
    n, k, padding = 5, 6, 3
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(n, k + padding, 3))
    radii = generator.uniform(0.5, 0.98, (n, k + padding, 1)) * contract.cutoff
    with jax.enable_x64(True):
        full = Neighborhood(
            jnp.asarray(directions / np.linalg.norm(directions, axis=-1, keepdims=True) * radii),
            jnp.asarray(generator.integers(len(contract.elements), size=n), jnp.int32),
            jnp.asarray(generator.integers(len(contract.elements), size=(n, k + padding)), jnp.int32),
            jnp.arange(k + padding)[None, :] < jnp.full((n, 1), k),
        )
        cut = Neighborhood(full.vectors[:, :k], full.species, full.neighbor_species[:, :k], full.mask[:, :k])
        try:
            shape = jax.eval_shape(energy, full).shape
            if shape != (n,):
                raise ConfigError(
                    f"the function returns shape {shape} for {n} centres; it must return one energy each, shape ({n},)"
                )
            (padded, padded_gradient), (tight, gradient) = (energies_and_gradient(energy, nb) for nb in (full, cut))
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"the function fails on a Neighborhood of {n} centres: {type(error).__name__}: {error}"
            ) from error
    if not (np.isfinite(padded).all() and np.isfinite(padded_gradient).all()):
        raise ConfigError(
            "the function, or its gradient, is not finite for neighbours between half the cutoff and the cutoff"
        )
    scale = max(1.0, float(np.abs(tight).max()), float(np.abs(gradient).max()))
    worst = max(np.abs(padded - tight).max(), np.abs(padded_gradient[:, :k] - gradient).max())
    if worst > 1e-9 * scale:
        raise ConfigError(
            "the function depends on padded neighbours: its values change when masked entries are added. "
            "Multiply, or jnp.where, every sum over neighbours by neighborhood.mask"
        )
