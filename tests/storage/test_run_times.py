"""Times of a run over its sessions."""

from __future__ import annotations

import json
import logging

import pytest

from musclemap_jax.storage import run_times
from musclemap_jax.storage.run_times import RunTimes


@pytest.fixture
def clock(monkeypatch):
    """A list whose element is the time in seconds."""
    now = [100.0]
    monkeypatch.setattr(run_times.time, "perf_counter", lambda: now[0])
    return now


def test_times_add_up_over_sessions_and_a_killed_one_counts_up_to_its_last_save(tmp_path, clock):
    first = RunTimes(tmp_path, writes=True)
    clock[0] += 10
    first.end("data")
    clock[0] += 60
    first.end("training")
    first.save()
    clock[0] += 7  # killed: this is lost
    second = RunTimes(tmp_path, writes=True)
    clock[0] += 1
    second.end("data")
    clock[0] += 40
    second.end("training")
    second.save()
    clock[0] += 5
    second.end("training")
    clock[0] += 3
    second.end("evaluation")
    assert second.totals_s() == {"data": 11, "training": 105, "evaluation": 3}
    assert second.num_sessions == 2
    second.save()
    assert json.loads((tmp_path / "times.json").read_text()) == {
        "sessions": [{"data": 10, "training": 60}, {"data": 1, "training": 45, "evaluation": 3}],
        "codes": [],
    }


def test_an_evaluation_of_a_finished_run_adds_its_times_and_writes_nothing(tmp_path, clock):
    trained = RunTimes(tmp_path, writes=True)
    clock[0] += 60
    trained.end("training")
    trained.save()
    before = (tmp_path / "times.json").read_bytes()
    evaluated = RunTimes(tmp_path, writes=False)
    clock[0] += 5
    evaluated.end("evaluation")
    evaluated.save()
    assert evaluated.totals_s() == {"training": 60, "evaluation": 5}
    assert (tmp_path / "times.json").read_bytes() == before
    assert RunTimes(tmp_path / "absent", writes=False).num_sessions == 1
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("text", ["", '{"sessions": [{"da', "[]", '{"sessions": [{"data": null}]}', '{"sessions": 3}'])
def test_a_damaged_file_is_reported_and_does_not_stop_the_run(tmp_path, text, caplog):
    (tmp_path / "times.json").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert RunTimes(tmp_path, writes=True).num_sessions == 1
    assert f"{tmp_path / 'times.json'}: damaged, the times of earlier sessions are lost" in caplog.text
