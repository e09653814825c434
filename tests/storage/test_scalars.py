"""Scalars of a run that is stopped and resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from musclemap_jax.storage.scalars import append_scalars, drop_scalars_after, read_scalars


def test_values_come_back(tmp_path):
    path = tmp_path / "scalars.jsonl"
    append_scalars(path, 1, {"train/loss": 0.5, "train/learning_rate": np.float32(0.25)})
    append_scalars(path, 2, {"train/loss": 0.25})
    series = read_scalars(path)
    assert list(series) == ["train/loss", "train/learning_rate"]
    assert series["train/loss"].steps.tolist() == [1, 2]
    assert series["train/loss"].values.tolist() == [0.5, 0.25]
    assert series["train/learning_rate"].steps.tolist() == [1]
    assert json.loads(path.read_text().splitlines()[0])["step"] == 1


def test_the_later_line_of_a_repeated_step_wins(tmp_path):
    path = tmp_path / "scalars.jsonl"
    for step, value in [(1, 1.0), (2, 2.0), (3, 3.0), (2, 20.0), (3, 30.0)]:
        append_scalars(path, step, {"train/loss": value})
    assert read_scalars(path)["train/loss"].values.tolist() == [1.0, 20.0, 30.0]


def test_an_incomplete_line_is_ignored_and_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "scalars.jsonl"
    append_scalars(path, 1, {"train/loss": 1.0})
    with path.open("a") as file:
        file.write('{"step": 2, "train/lo')
    assert read_scalars(path)["train/loss"].steps.tolist() == [1]
    append_scalars(path, 3, {"train/loss": 3.0})
    assert read_scalars(path)["train/loss"].steps.tolist() == [1, 3]


def test_later_steps_and_incomplete_lines_are_dropped(tmp_path):
    path = tmp_path / "scalars.jsonl"
    drop_scalars_after(path, 0)
    assert not path.exists()
    for step in (1, 2, 3):
        append_scalars(path, step, {"train/loss": float(step)})
    kept = path.read_text().splitlines()[:2]
    with path.open("a") as file:
        file.write('{"train/loss": 1.0}\n{"step": 1, "train/lo')
    path.write_bytes(path.read_bytes() + b"\xff\x00")  # as after a power failure
    drop_scalars_after(path, 2)
    assert path.read_text().splitlines() == kept


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, "train/lo',
        b'{"step": 2, "train/\xff\xfe": 1.0}',
        b"\x00" * 50,
        b"\xff\xd8\x80",
        b"[1, 2]",
        b'{"step": "2", "train/loss": 1.0}',
        b'{"step": true, "train/loss": 1.0}',
        b'{"step": 2, "train/loss": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b"",
    ],
)
def test_a_damaged_line_costs_no_other_and_is_removed_by_the_next_resume(tmp_path, line):
    path = tmp_path / "scalars.jsonl"
    for step in (1, 3):
        append_scalars(path, step, {"train/loss": float(step)})
    first, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + last)
    series = read_scalars(path)
    assert list(series) == ["train/loss"]
    assert series["train/loss"].steps.tolist() == [1, 3]
    drop_scalars_after(path, 3)
    assert path.read_bytes() == first + last


def test_values_that_are_not_finite_are_null_and_read_as_nan(tmp_path):
    path = tmp_path / "scalars.jsonl"
    append_scalars(path, 1, {"train/loss": float("inf")})
    assert json.loads(path.read_text()) == {"step": 1, "train/loss": None}
    assert np.isnan(read_scalars(path)["train/loss"].values).all()


def test_an_absent_file_has_no_series(tmp_path):
    assert read_scalars(tmp_path / "scalars.jsonl") == {}
