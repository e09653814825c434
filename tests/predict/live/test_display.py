"""The newest answer in the terminal."""

import io
import time
import types

import numpy as np
import pytest

from musclemap_jax.predict.live.display import Display, answer_line, answer_lines
from musclemap_jax.predict.live.session import LiveAnswer
from tests.predict.handmade import prediction

REGIONS = tuple(f"region {letter}" for letter in "abcdefghij")


def newest(probabilities, **changes):
    """An answer for 3.0 to 4.0 s that was filmed at 10 s and answered at 10.4 s."""
    made = prediction([probabilities], REGIONS, **{"times_s": np.array([[3.0, 4.0]])} | changes)
    return LiveAnswer(made, filmed_at=10.0, answered_at=10.4)


def test_a_line_names_the_active_regions_by_probability():
    answer = newest([0.1, 0.9, 0.2, 0.6, 0, 0, 0, 0, 0, 0])
    assert answer_line(answer, 10.4, dropped=0) == "3.0-4.0 s: region b 90 %, region d 60 % (0.4 s old)"
    assert answer_line(answer, 12.0, dropped=7).endswith("60 % (2.0 s old, 7 frames dropped)")
    assert answer_line(newest([0.1] * 10), 10.4, 0) == "3.0-4.0 s: no active region (0.4 s old)"
    assert answer_line(newest([np.nan] * 10), 10.4, 0) == "3.0-4.0 s: no answer (0.4 s old)"
    assert ", region h 90 %, 2 more (" in answer_line(newest([0.9] * 10), 10.4, 0)


def test_a_block_has_bars_and_always_as_many_lines():
    lines = answer_lines(newest([0.1, 0.9, 0.2, 0.6, 0, 0, 0, 0, 0, 0]), 10.9, 0, width=80)
    assert lines[0] == "3.0-4.0 s by video and skeleton (0.9 s old)"
    assert lines[1] == "* region b   90 %  ##################"
    assert lines[3] == "  region c   20 %  ####"
    silent = answer_lines(newest([np.nan] * 10, modalities=((),)), 10.9, 0, width=80)
    assert silent[:2] == ["3.0-4.0 s by nothing that was seen (0.9 s old)", "  region a      -  "]
    assert len(silent) == len(lines) == 9
    assert max(map(len, answer_lines(newest([0.9] * 10), 10.9, 0, width=20))) == 19


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()])
def test_a_terminal_is_redrawn_in_place_and_a_file_gets_a_line_an_answer(out):
    live = types.SimpleNamespace(name="0", dropped=0, model=types.SimpleNamespace(window_s=2.5))
    with Display(live, out) as display:
        for probability in (0.9, 0.8):
            time.sleep(0.25)
            display.show(newest([probability] * 10))
    if out.isatty():
        first, *others = out.getvalue().split("\x1b[1F")
        assert first == "0: filming the first 2.5 s\x1b[K\n"
        assert "region a   80 %" in others[-1].split("\x1b[9F")[-1]
    else:
        assert [line.partition(",")[0] for line in out.getvalue().splitlines()] == [
            "3.0-4.0 s: region a 90 %",
            "3.0-4.0 s: region a 80 %",
        ]
