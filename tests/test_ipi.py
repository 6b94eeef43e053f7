"""`jaxff ipi` behind real servers: the same numbers as the calculator, a clean end, clear errors."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.socketio import SocketIOCalculator
from ase.io import write
from conftest import make_potential
from typer.testing import CliRunner

from jax_models import ConfigError, StructureError
from jaxff import JaxffCalculator
from jaxff.cli.app import app
from jaxff.ipi import connected, run_client


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_potential().save("si.jaxff")
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    write("si.xyz", atoms)
    return atoms


def free_port():
    with socket.socket() as trial:
        trial.bind(("localhost", 0))
        return trial.getsockname()[1]


def started(*words):
    """The command in a thread, and what becomes of it."""
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(CliRunner().invoke(app, ["ipi", *map(str, words)])))
    return thread, outcome


@pytest.mark.parametrize("kind", ["port", "unix"])
def test_ase_as_server_gets_the_same_numbers(files, kind):
    name = f"jaxff_{os.getpid()}"
    place = {"port": free_port()} if kind == "port" else {"unixsocket": name}
    words = ["--port", place["port"]] if kind == "port" else ["--unix", name]
    thread, outcome = started("si.jaxff", "--structure", "si.xyz", *words, "--precision", "double")
    direct = files.copy()
    direct.calc = JaxffCalculator("si.jaxff", "double")
    with SocketIOCalculator(timeout=120, **place) as server:
        thread.start()
        files.calc = server
        for step in range(3):
            for atoms in (files, direct):
                atoms.rattle(0.02, seed=step)
                atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
            assert files.get_potential_energy() == pytest.approx(direct.get_potential_energy(), abs=1e-8)
            np.testing.assert_allclose(files.get_forces(), direct.get_forces(), atol=1e-8)
            np.testing.assert_allclose(files.get_stress(), direct.get_stress(), atol=1e-8)
    thread.join(60)
    assert outcome[0].exit_code == 0, outcome[0].output
    assert "3 evaluations; the server has ended" in outcome[0].output


def test_a_molecule_has_no_stress(files):
    atoms, port = molecule("Si2H6"), free_port()
    atoms.symbols = "Si" * len(atoms)
    write("m.xyz", atoms)
    thread, outcome = started("si.jaxff", "--structure", "m.xyz", "--port", port, "--precision", "double")
    with SocketIOCalculator(port=port, timeout=120) as server:
        thread.start()
        atoms.calc = server
        direct = atoms.copy()
        direct.calc = JaxffCalculator("si.jaxff", "double")
        np.testing.assert_allclose(atoms.get_forces(), direct.get_forces(), atol=1e-8)
    thread.join(60)
    assert outcome[0].exit_code == 0, outcome[0].output


def test_mistakes(files):
    def refused(*words):
        return str(CliRunner().invoke(app, ["ipi", "si.jaxff", "--structure", "si.xyz", *map(str, words)]).exception)

    assert "nobody listens at localhost:" in refused("--port", free_port())
    assert "nobody listens at /tmp/ipi_jaxff_none" in refused("--unix", "jaxff_none")
    assert "nobody listens at no.such.host" in refused("--host", "no.such.host.invalid", "--port", 4000)
    assert "give either --port" in refused()
    assert "give either --port" in refused("--port", 4000, "--unix", "x")


def test_another_number_of_atoms_is_refused(files):
    port = free_port()
    thread, outcome = started("si.jaxff", "--structure", "si.xyz", "--port", port)
    with SocketIOCalculator(port=port, timeout=120) as server:
        thread.start()
        other = files * (2, 1, 1)
        other.calc = server
        with pytest.raises(Exception):  # noqa: B017, ASE raises what its socket does
            other.get_potential_energy()
    thread.join(60)
    assert isinstance(outcome[0].exception, StructureError)
    assert "the server sends 16 atoms, but --structure has 8" in str(outcome[0].exception)


def test_a_server_that_is_killed_is_said():
    """Closed in the middle of a message, or without a farewell: never a traceback."""
    listening = socket.create_server(("localhost", 0))
    client = connected(listening.getsockname()[1])
    other, _ = listening.accept()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
    other.close()
    with pytest.raises(ConfigError, match="the connection broke after 0 evaluations"):
        run_client(client, bulk("Si"), None)
    listening.close()


def test_a_server_of_another_protocol_is_said():
    listening = socket.create_server(("localhost", 0))
    client = connected(listening.getsockname()[1])
    other, _ = listening.accept()
    other.sendall(b"HTTP/1.1 400")
    with pytest.raises(ConfigError, match="no message of i-PI's protocol"):
        run_client(client, bulk("Si"), None)
    other.close()
    listening.close()


INPUT = """<simulation verbosity='low'>
  <output prefix='run'>
    <properties stride='1' filename='out'> [ step, potential{{electronvolt}}, pressure_md{{megapascal}} ] </properties>
  </output>
  <total_steps>5</total_steps>
  <ffsocket mode='unix' name='driver'><address>{address}</address><latency>1e-3</latency></ffsocket>
  <system>
    <initialize nbeads='2'>
      <file mode='ase'> si.xyz </file>
      <velocities mode='thermal' units='kelvin'> 300 </velocities>
    </initialize>
    <forces><force forcefield='driver'/></forces>
    <ensemble><temperature units='kelvin'> 300 </temperature></ensemble>
    <motion mode='dynamics'><dynamics mode='nve'><timestep units='femtosecond'> 0.5 </timestep></dynamics></motion>
  </system>
</simulation>
"""


@pytest.mark.slow
def test_i_pi_itself(files, tmp_path):
    """Path integrals with two beads by i-PI: the first energy is the calculator's, the last step is reached."""
    program = shutil.which("i-pi", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("i-PI is not installed: pip install ipi")
    address = f"jaxff_{os.getpid()}"
    (tmp_path / "input.xml").write_text(INPUT.format(address=address))
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = subprocess.Popen([program, "input.xml"], **quiet)
    try:
        while not os.path.exists(f"/tmp/ipi_{address}"):
            assert server.poll() is None, server.stdout.read()
        done = CliRunner().invoke(app, ["ipi", "si.jaxff", "--structure", "si.xyz", "--unix", address])
        assert done.exit_code == 0, done.output
        server.wait(60)
    finally:
        server.kill()
    rows = np.loadtxt("run.out")
    files.calc = JaxffCalculator("si.jaxff")
    assert rows[0, 1] == pytest.approx(files.get_potential_energy(), abs=1e-3)
    assert len(rows) == 6 and np.isfinite(rows).all()
