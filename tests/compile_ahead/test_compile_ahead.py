"""Tests of the compile-ahead command as a user starts it, and of topologies; libtpu is needed for some."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from musclemap_jax.compile_ahead.__main__ import _does_not_fit
from musclemap_jax.compile_ahead.step_report import OutOfMemoryError
from musclemap_jax.compile_ahead.topology import CHIP_KINDS, Topology, describe_topology
from musclemap_jax.errors import UserError

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "-m", "musclemap_jax.compile_ahead", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v9:2x2", "v5e:0x2", "v5e:2x2x2x2", "v5e:axb"])
def test_an_unknown_topology_is_refused_with_examples(name):
    with pytest.raises(UserError, match=f"--topology={name}: expected one of v4, v5e.*such as v5e:16x16"):
        describe_topology(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topology=v5e:2x2"], "--config and --topology are needed"),
        (["--config=configs/none.py", "--topology=v5e:2x2"], "configs/none.py"),
        (["--config=configs/transm3e.py", "--topology=v5x:2x2"], "--topology=v5x:2x2: expected one of v4"),
        (["--config=configs/transm3e.py", "--topology=v5e:2x2", "--batch=4", "--largest_batch"], "exclude each other"),
        (["--config=configs/transm3e.py", "--topology=v5e:2x2", "--save=step.bin"], "set --config.train.num_steps"),
        (
            [
                "--config=configs/transm3e.py",
                "--topology=v5e:2x2",
                "--save=step.bin",
                "--config.train.num_steps=9",
                "--config.loss.balance=positives",
            ],
            "--save: the weights of config.loss.balance=positives are counted in the training data",
        ),
        (
            ["--config=configs/transm3e.py", "--topology=v5e:2x2", "--out=setup.py/step.json"],
            "--out=setup.py/step.json: cannot be written: ",
        ),
        (
            ["--config=configs/transm3e.py", "--topology=v5e:2x2", "--out=configs"],
            "--out=configs: cannot be written: expected a file",
        ),
    ],
)
def test_invalid_input_ends_with_one_line(arguments, message):
    process = run(*arguments)
    assert process.returncode == 2
    assert message in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1


def test_without_numbers_the_compilers_message_is_quoted():
    topology = Topology("v5e:2x2", 1, CHIP_KINDS["v5e"], devices=[])
    text = _does_not_fit(OutOfMemoryError("RESOURCE_EXHAUSTED: no room in smem"), "a.py", topology, 4)
    assert "'RESOURCE_EXHAUSTED: no room in smem'" in text
    assert "GiB" not in text
    numbers = OutOfMemoryError("Used 17G of 15G hbm")
    assert "needs 17.00 GiB of the 15.00 GiB" in _does_not_fit(numbers, "a.py", topology, 4)


def test_libtpu_describes_chips_and_slices():
    pytest.importorskip("libtpu", reason="needs the extra tpu")
    assert len(describe_topology("v4:2x2x2").devices) == 8
    assert len(describe_topology("tpu7x:2x2x1").devices) == 8  # two of each chip
    slices = describe_topology("v5e:2x4", num_slices=2)
    assert len(slices.devices) == 16
    assert slices.text == "2 x v5e:2x4"
    with pytest.raises(UserError, match=r"--topology=v5e:3x3: .*not divisible"):
        describe_topology("v5e:3x3")


def test_a_mesh_that_does_not_divide_the_chips_ends_with_one_line():
    pytest.importorskip("libtpu", reason="needs the extra tpu")
    process = run("--config=configs/transm3e.py:smoke", "--config.mesh.fsdp=3", "--topology=v5e:2x2")
    assert process.returncode == 2
    assert "fsdp=3, tensor=1 does not divide the 4 devices" in process.stderr


def test_the_smoke_variant_is_compiled_for_a_slice(tmp_path):
    pytest.importorskip("libtpu", reason="needs the extra tpu")
    out = tmp_path / "report.json"
    saved = tmp_path / "step.bin"
    arguments = ("--top_ops=3", f"--save={saved}", "--config.train.num_steps=10", f"--out={out}")
    process = run("--config=configs/transm3e.py:smoke", "--topology=v5e:2x2", *arguments)
    assert process.returncode == 0, process.stderr
    assert f"saved: {saved}" in process.stdout
    assert json.loads(saved.read_bytes().partition(b"\n")[0])["devices"] == "4 x TPU v5 lite"
    assert "GB by the operands and results of all operations" in process.stdout
    assert "on v5e:2x2: 4 chips (data 4 x fsdp 1 x tensor 1), 8 clips a step" in process.stdout
    assert '"num_chips": 4' in out.read_text()
