"""Anyone's JAX energy function becomes a file that runs without its source."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from potentials_from_functions import SW_CUTOFF, lennard_jones, stillinger_weber

from jax_models import ConfigError, ModelFileError, Potential
from jax_models.exported import ExportedModel


def dimer(potential, r, double=True):
    positions = np.array([[0.0, 0, 0], [0, 0, r]])
    return potential.evaluate(positions, np.zeros((3, 3)), False, [potential.elements[0]] * 2, double=double)


def test_lennard_jones_from_its_file(tmp_path):
    Potential.from_function(lennard_jones, ["Ar"], cutoff=8.5, citation="J. E. Jones, 1924").save(tmp_path / "lj.jaxff")
    loaded = Potential.load(tmp_path / "lj.jaxff")
    assert loaded.contract.citation == "J. E. Jones, 1924"
    for r in (3.0, 3.8, 6.0):
        s6 = (3.4 / r) ** 6
        result = dimer(loaded, r)
        np.testing.assert_allclose(result["energy"], 4 * 0.0104 * (s6**2 - s6), rtol=1e-13)
        np.testing.assert_allclose(result["forces"][1, 2], 24 * 0.0104 * (2 * s6**2 - s6) / r, rtol=1e-13)
        np.testing.assert_allclose(dimer(loaded, r, double=False)["energy"], result["energy"], rtol=1e-5)
    assert dimer(loaded, 9.0)["energy"] == 0.0


def test_three_body_forces_are_derivatives(tmp_path):
    Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF).save(tmp_path / "sw.jaxff")
    loaded = Potential.load(tmp_path / "sw.jaxff")
    generator = np.random.default_rng(0)
    positions = 2.5 * np.array([[i % 2, i // 2 % 2, i // 4] for i in range(8)]) + generator.normal(
        scale=0.1, size=(8, 3)
    )
    cell = np.eye(3) * 5.2

    def energy(x):
        return loaded.evaluate(x, cell, True, ["Si"] * 8)["energy"]

    direction, step = generator.normal(size=(8, 3)), 1e-5
    numerical = (energy(positions + step * direction) - energy(positions - step * direction)) / (2 * step)
    analytical = -np.sum(loaded.evaluate(positions, cell, True, ["Si"] * 8)["forces"] * direction)
    np.testing.assert_allclose(numerical, analytical, rtol=1e-7)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda nb: jnp.sum(nb.vectors**2, axis=(1, 2)), "padded neighbours"),
        (lambda nb: jnp.sum(jnp.where(nb.mask, 1.0, 0.0)), r"returns shape \(\)"),
        (lambda nb: jnp.sum(jnp.where(nb.mask, jnp.log(-jnp.sum(nb.vectors**2, -1)), 0.0), -1), "not finite"),
        (lambda nb: nb.no_such_field, "AttributeError"),
    ],
)
def test_a_wrong_function_is_told_what_is_wrong(function, message):
    with pytest.raises(ConfigError, match=message):
        Potential.from_function(function, ["Ar"], cutoff=5.0)


def test_wrong_declarations():
    with pytest.raises(ConfigError, match="cutoff"):
        Potential.from_function(lennard_jones, ["Ar"], cutoff=-1.0)
    with pytest.raises(ConfigError, match="not a chemical element: Q"):
        Potential.from_function(lennard_jones, ["Q"], cutoff=5.0)


def test_an_artifact_that_calls_the_host_is_refused():
    """A function with a Python callback inside must not become a file, nor run from one."""
    import jax

    def printing(nb):
        jax.debug.callback(lambda: None)
        return lennard_jones(nb)

    with pytest.raises(ConfigError, match="export"):
        Potential.from_function(printing, ["Ar"], cutoff=5.0)
    with pytest.raises(ModelFileError, match="cannot be read"):
        ExportedModel({"float32": b"nonsense", "float64": b"nonsense"})


def test_derivatives_that_call_the_host_are_refused(tmp_path):
    """An artifact carries its derivatives as modules of their own: one of them may hold the call."""
    import jax
    from jax import export

    @jax.custom_vjp
    def harmless(vectors):
        return jnp.sum(vectors**2, axis=(1, 2))

    def backward(vectors, cotangent):
        symmetric = jnp.einsum("nka,nkb->nab", vectors, vectors)
        return (vectors * cotangent[:, None, None] * jnp.linalg.svd(symmetric)[1].sum(),)

    harmless.defvjp(lambda vectors: (harmless(vectors), vectors), backward)

    def exportable(vectors, species, neighbor_species, mask):
        return harmless(vectors)

    artifacts = {}
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            arguments = [
                jax.ShapeDtypeStruct(shape, kind)
                for shape, kind in (((2, 3, 3), dtype), ((2,), "int32"), ((2, 3), "int32"), ((2, 3), "bool"))
            ]
            function = export.export(jax.jit(exportable), platforms=("cpu",))(*arguments)
            assert "custom_call" not in function.mlir_module()
            artifacts[dtype] = bytes(function.serialize(vjp_order=1))
    with pytest.raises(ModelFileError, match="the exported function calls lapack_sgesdd_ffi, which is not allowed"):
        ExportedModel(artifacts)
