"""Tests of the trace of some steps."""

import jax
import jax.numpy as jnp
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.runtime.profiling import Profiler, parse_steps


def test_the_last_step_is_included():
    assert list(parse_steps("3-5")) == [3, 4, 5]
    assert list(parse_steps("7")) == [7]
    assert not parse_steps("")


@pytest.mark.parametrize("text", ["0-3", "5-3", "a-b", "3-", "-3"])
def test_invalid_steps_are_refused(text):
    with pytest.raises(UserError, match=r"--profile_steps: expected .* such as 10-20"):
        parse_steps(text)


def test_the_steps_are_traced_for_xprof(tmp_path):
    profiler = Profiler(tmp_path, range(6, 9))
    ended = []
    for step in range(5, 11):
        profiler.before(step)
        jax.block_until_ready(jnp.ones(3) + step)
        if profiler.ends_with(step):
            profiler.close()
            ended.append(step)
    assert ended == [8]
    (trace,) = tmp_path.glob("profile/plugins/profile/*/*.xplane.pb")
    assert b"PjitFunction" in trace.read_bytes() or b"add" in trace.read_bytes()
