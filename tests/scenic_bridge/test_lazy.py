"""A process that imports the bridge stays free of Scenic, and is told how to install it; both without Scenic."""

import subprocess
import sys

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.scenic_bridge.installed import INSTALL, REPOSITORY, scenic_module
from tests.conftest import ROOT

IMPORTS = """
import importlib, sys
from pathlib import Path

folder = Path(sys.argv[1]) / "musclemap_jax" / "scenic_bridge"
for path in sorted(folder.glob("*.py")):
    importlib.import_module(f"musclemap_jax.scenic_bridge.{path.stem}")
foreign = [name for name in sys.modules if name.partition(".")[0] in ("scenic", "tensorflow", "clu", "big_vision")]
import flax
from absl import flags
from musclemap_jax.models.branches import BRANCHES
print(foreign, flax.config.flax_use_orbax_checkpointing, "dataset_service_address" in flags.FLAGS, *BRANCHES)
"""

LIGHT = """
import sys
import musclemap_jax, musclemap_jax.main, musclemap_jax.experiment.config
print([name for name in sys.modules if "scenic" in name or name == "tensorflow"])
"""


def output_of(script, *arguments):
    process = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_the_modules_import_nothing_of_scenic_and_change_no_setting():
    output = output_of(IMPORTS, str(ROOT))
    assert output.startswith("[] True False video skeleton rgb_diff optical_flow ")
    assert output.endswith(" vivit token_learner")


def test_the_program_does_not_even_import_the_bridge():
    assert output_of(LIGHT) == "[]"


def test_without_scenic_the_error_has_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "scenic", None)
    with pytest.raises(UserError) as caught:
        scenic_module("scenic.train_lib.train_utils")
    assert str(caught.value) == f"Scenic is not installed: {INSTALL}"
    assert "python tools/install_scenic.py" in INSTALL


def test_another_package_of_that_name_is_told_apart(monkeypatch, tmp_path):
    (tmp_path / "scenic").mkdir()
    file = tmp_path / "scenic" / "__init__.py"
    file.write_text('"""A scenario language."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "scenic", raising=False)
    with pytest.raises(UserError) as caught:
        scenic_module("scenic.train_lib.train_utils")
    sys.modules.pop("scenic", None)
    assert str(caught.value) == (
        f"scenic ({file}): the package on PyPI is another project of that name: uninstall it, and install Google's: "
        f"{INSTALL}"
    )


def test_the_command_ends_with_one_line(tmp_path):
    script = (
        "import sys; sys.modules['scenic'] = None; import runpy; sys.argv[0] = 'scenic_bridge'; "
        "runpy.run_module('musclemap_jax.scenic_bridge', run_name='__main__')"
    )
    arguments = ("--config=configs/scenic/hdgcn.py:smoke", f"--workdir={tmp_path}")
    process = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (2, f"error: Scenic is not installed: {INSTALL}\n")


def test_the_install_script_refuses_another_folder(tmp_path):
    process = subprocess.run(
        [sys.executable, ROOT / "tools" / "install_scenic.py", tmp_path], capture_output=True, text=True
    )
    assert process.returncode == 2
    assert process.stdout == f"error: {tmp_path}: not a checkout of Scenic: git clone {REPOSITORY}\n"
