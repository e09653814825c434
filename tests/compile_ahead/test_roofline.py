"""Tests of the roofline model, with numbers computed by hand, and of its command."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver

from musclemap_jax.compile_ahead.roofline import StepCost, estimate
from musclemap_jax.compile_ahead.scaling import main, read_cost
from musclemap_jax.cost.machines import MACHINES, Machine
from musclemap_jax.errors import UserError

ROOT = Path(__file__).parents[2]

# 1 FLOP/s, 1 B/s of memory, 10 B/s of fast links in domains of 4, 2 B/s between them; two chips and five cores a host.
MACHINE = Machine("toy", 1.0, 1.0, 10.0, 4, 2.0, 2, 5)
COST = StepCost(clips=2, flops=100, bytes_moved=300, parameter_bytes=20, state_bytes=60)


def test_arithmetic_and_memory_scale_with_the_clips_but_not_the_update():
    row = estimate(COST, MACHINE, num_chips=1, clips=4)
    update = 2 * 60 + 4 * 20
    assert (row.compute_s, row.memory_s, row.network_s) == (200, (300 - update) * 2 + update, 0)
    assert (row.best_s, row.worst_s, row.bound) == (400, 600, "memory")


def test_the_gradient_is_summed_within_and_between_domains():
    assert estimate(COST, MACHINE, 4, 2).network_s == pytest.approx(2 * 20 * 3 / 4 / 10)
    two = estimate(COST, MACHINE, 8, 2)
    assert two.network_s == pytest.approx(2 * 20 * 3 / 4 / 10 + 2 * 20 / 4 * 1 / 2 / 2)
    assert two.batch_size == 16
    assert two.efficiency == pytest.approx((100 + 300) / (100 + 300 + two.network_s))


def test_sharded_parameters_are_gathered_twice_and_updated_in_parts():
    row = estimate(COST, MACHINE, 4, 2, fsdp=2)
    assert row.network_s == pytest.approx((3 * 20 * 1 / 2 + 2 * 10 * 1 / 2) / 10)
    assert row.memory_s == 100 + 200 / 2


def test_input_and_checkpoint_are_those_of_a_host():
    row = estimate(COST, MACHINE, 4, 2, clips_per_core=0.001, save_bandwidth=3.0)
    assert row.input_need == pytest.approx(2 * 2 / row.best_s / (5 * 0.001))
    assert row.bound == "input"
    assert row.save_s == 60 / 3
    assert estimate(COST, MACHINE, 4, 2, fsdp=4, save_bandwidth=3.0).save_s == 60 / 2 / 3


@pytest.fixture
def report(tmp_path):
    values = {"parameter_bytes": 2e8, "optimizer_bytes": 4e8, "ema_bytes": 2e8, "batch_size": 16, "num_chips": 4}
    values |= {"flops": 1.6e12, "bytes_accessed": 4e10, "mesh": {"data": 4, "fsdp": 1, "tensor": 1}}
    path = tmp_path / "step.json"
    path.write_text(json.dumps(values))
    return path, values


def run(*arguments):
    command = [sys.executable, "-m", "musclemap_jax.compile_ahead.scaling", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_command_prints_a_line_for_each_number_of_chips(report):
    path, _ = report
    process = run(f"--report={path}", "--chips=16,256", "--fsdp=1,8")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert "4 clips a chip, state 0.75 GiB" in lines[0]
    assert [line.split()[:3] for line in lines[2:]] == [
        ["16", "1", "64"],
        ["256", "1", "1024"],
        ["16", "8", "64"],
        ["256", "8", "1024"],
    ]
    memory_s = 4e10 / MACHINES["v5e"].hbm_bandwidth
    assert f"{memory_s * 1e3:.1f} ms" in lines[2]
    assert "memory" in lines[2]


def test_reports_that_say_nothing_about_scaling_are_refused(report):
    path, values = report
    sharded = path.with_name("sharded.json")
    sharded.write_text(json.dumps(values | {"mesh": {"data": 2, "fsdp": 2, "tensor": 1}}))
    with pytest.raises(UserError, match=r"sharded.json: expected mesh.fsdp=1: compile the step without it"):
        read_cost(str(sharded))
    with pytest.raises(UserError, match=r"--report=.*absent.json: No such file"):
        read_cost(str(path.with_name("absent.json")))
    with pytest.raises(UserError, match="not a report of compile_ahead --out"):
        read_cost(__file__)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_chips", 0),
        ("batch_size", "16"),
        ("flops", -1.0),
        ("flops", math.nan),
        ("ema_bytes", -1),
        ("num_chips", True),
    ],
)
def test_numbers_that_no_step_has_are_refused_by_name(report, name, value):
    path, values = report
    path.write_text(json.dumps(values | {name: value}))
    with pytest.raises(
        UserError, match=f"step.json: not a report .*: {name}: expected a positive number, got {value!r}"
    ):
        read_cost(str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "flag --report is needed"),
        (["--chips=16,x"], "--chips=16,x: expected whole numbers"),
        (["--machine=foo"], "error: flag --machine=foo: value should be one of"),
        (["stray"], "error: unexpected argument 'stray'"),
    ],
)
def test_invalid_input_ends_with_one_line(report, arguments, message):
    process = run(*arguments, *([f"--report={report[0]}"] if arguments else []))
    assert process.returncode == 2
    assert message in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chips": ["16"], "fsdp": ["3"]}, "--fsdp=3: divides none of --chips=16"),
        ({"clips_per_core": 0.0}, "--clips_per_core=0: expected a positive number"),
        ({"save_gb_per_s": -1.0}, "--save_gb_per_s=-1: expected a positive number"),
        ({"clips_per_chip": math.nan}, "--clips_per_chip=nan: expected a positive number"),
        (
            {"clips_per_chip": 0.01, "chips": ["16"]},
            "--clips_per_chip=0.01: less than one clip over 16 chips: pass more",
        ),
        ({"epochs": math.nan}, "--epochs=nan: expected a positive number"),
        ({"start_s": math.inf}, "--start_s=inf: expected a positive number"),
    ],
)
def test_numbers_that_cannot_be_are_refused(report, capsys, values, message):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(report=str(report[0]), **values):
        assert main([]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_run_may_start_at_once(report, capsys):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(report=str(report[0]), start_s=0.0, chips=["16"]):
        assert main([]) == 0
    assert capsys.readouterr().out.rstrip().endswith("0%")


def test_every_machine_has_all_its_numbers():
    for name, machine in MACHINES.items():
        assert machine.name == name
        assert all(value > 0 for value in dataclasses.asdict(machine).values() if not isinstance(value, str))
        assert machine.hbm_bandwidth < machine.peak_flops
        assert machine.outer_bandwidth < machine.send_bandwidth < machine.hbm_bandwidth
