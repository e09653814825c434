"""The latency benchmark: ages of the newest answer over time."""

import numpy as np
import pytest

from benchmarks.live import ages
from musclemap_jax.predict.live.session import LiveAnswer
from tests.predict.handmade import prediction


def test_an_answer_ages_until_the_next_one():
    """Filmed at 0 and 1 s, answered after 0.2 and 0.4 s: the first one is 1.4 s old when it is replaced."""
    made = prediction([np.zeros(20)])
    seen = ages([LiveAnswer(made, 0.0, 0.2), LiveAnswer(made, 1.0, 1.4), LiveAnswer(made, 2.0, 2.1)], step_s=0.01)
    assert seen.min() == pytest.approx(0.2)
    assert seen.max() == pytest.approx(1.39)
    assert len(seen) == pytest.approx(120 + 70, abs=1)
    assert np.median(seen) == pytest.approx(0.775, abs=0.01)
