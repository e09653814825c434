"""The wheel, installed into an environment of its own, works outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

from musclemap_jax.experiment.config_files import config_file
from tests.conftest import QUICK_COMPILATION, ROOT

PACKAGES = {"musclemap_jax": "musclemap_jax", "tfds_musclemap": "tfds_musclemap", "configs": "musclemap_jax/configs"}
"""Folder of the checkout -> folder of the installed package."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
"""No PYTHONPATH, by which the checkout would be found."""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Interpreter of an environment with the wheel; it sees the outer environment's packages, but not the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"  # a copy: setuptools would reuse files of earlier builds in the checkout
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", f"--wheel-dir={folder}", source]
    subprocess.run(build, check=True, env=ENVIRONMENT)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env")
    interpreter = folder / "env" / "bin" / "python"
    install = [*pip, f"--python={interpreter}", "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, env=ENVIRONMENT)
    # Only the outer environment's folder comes along, not what its .pth files add, such as an editable checkout.
    (site_packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site_packages / "outer.pth").write_text(sysconfig.get_path("purelib"))
    return interpreter


@pytest.fixture(scope="module")
def installed(python, tmp_path_factory):
    """A function (*arguments) that runs the environment's interpreter in an empty folder; returns folder and output."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = ENVIRONMENT | {"XLA_FLAGS": QUICK_COMPILATION}

    def run(*arguments):
        process = subprocess.run([python, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return folder, process.stdout

    return run


def test_modules_come_from_the_wheel(installed, python):
    code = "import musclemap_jax, tfds_musclemap; print(musclemap_jax.__file__, tfds_musclemap.__file__)"
    _, output = installed("-c", code)
    environment = python.parents[1]
    assert all(path.startswith(str(environment)) for path in output.split()), output


def test_every_file_of_the_packages_is_in_the_wheel(python):
    (site_packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    for folder, target in PACKAGES.items():
        files = [file.relative_to(ROOT / folder) for file in (ROOT / folder).rglob("*") if file.is_file()]
        files = [file for file in files if "__pycache__" not in file.parts]
        assert files
        assert [file for file in files if not (site_packages / target / file).is_file()] == []
    assert (site_packages / "musclemap_jax" / "py.typed").is_file()
    assert (site_packages / "tfds_musclemap" / "py.typed").is_file()


def test_the_smoke_variant_runs_by_name(installed):
    folder, output = installed("-m", "musclemap_jax.main", "--config=hdgcn:smoke", "--workdir=run")
    report = folder / "run" / "report" / "report.html"
    assert "hdgcn.py:smoke" in report.read_text()
    assert "report.html" in output


def test_a_file_goes_before_a_configuration_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_file("transm3e:smoke") == ROOT / "configs" / "transm3e.py"
    (tmp_path / "transm3e").write_text("")
    assert config_file("transm3e:smoke").resolve() == tmp_path / "transm3e"
