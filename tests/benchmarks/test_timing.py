"""Turns, ratios and files of the benchmarks, with rivals whose times are known."""

import json

import pytest
from PIL import Image

from benchmarks.timing import alternate, medians, plot_bars, plot_lines, speedup, timed, write_results


def _rival(log, name, seconds):
    times = iter(seconds)

    def run():
        log.append(name)
        return next(times)

    return run


def test_rivals_take_turns_and_the_warm_up_is_dropped():
    log = []
    times = alternate({"a": _rival(log, "a", [9, 1, 2]), "b": _rival(log, "b", [9, 3, 4])}, turns=2)
    assert log == ["a", "b"] * 3
    assert times == {"a": [1, 2], "b": [3, 4]}


def test_ratio_is_the_median_of_the_ratios_within_turns():
    times = {"ours": [1.0, 2.0, 10.0], "peer": [2.0, 6.0, 10.0]}
    assert speedup(times, "ours", "peer") == 2.0  # of 2, 3 and 1
    assert medians(times) == {"ours": 2.0, "peer": 6.0}


def test_times_are_per_unit_of_work():
    times, calls = iter([5.0, 9.0]), []
    assert timed(lambda: calls.append(1), per=2, clock=lambda: next(times))() == 2.0
    assert calls == [1]


def test_results_include_machine_date_and_runs(tmp_path):
    path = tmp_path / "results" / "input.json"
    times = {"ours": [1.0, 3.0, 2.0], "peer": [2.0, 2.0, 4.0]}
    write_results(path, {"frames": 16}, times, {"speedup": 2.0}, packages=["numpy"])
    found = json.loads(path.read_text())
    assert found["seconds"] == times
    assert found["median_seconds"] == {"ours": 2.0, "peer": 2.0}
    assert (found["settings"], found["metrics"]) == ({"frames": 16}, {"speedup": 2.0})
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["processor"]
    assert found["machine"]["packages"]["numpy"][0].isdigit()
    assert len(found["date"]) == len("2000-01-01")


@pytest.mark.parametrize(
    ("plot", "arguments"),
    [
        (plot_bars, ({"ours": [1.0, 2.0], "peer": [3.0, 4.0]},)),
        (plot_lines, ({"forward": [(8, 2.0), (4, 1.0)]}, "frames")),
    ],
)
def test_plots_are_drawn(tmp_path, plot, arguments):
    plot(tmp_path / "plot.png", "Title", *arguments)
    with Image.open(tmp_path / "plot.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10
