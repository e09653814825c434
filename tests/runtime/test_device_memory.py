"""Tests of out-of-memory errors."""

import jax
import jax.numpy as jnp
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.runtime.device_memory import out_of_memory_is_user_error


def test_out_of_memory_becomes_a_sentence_that_says_what_to_change():
    with (
        pytest.raises(UserError, match=r"cpu ran out of memory \(RESOURCE_EXHAUSTED: .*: lower config.train"),
        out_of_memory_is_user_error("config.train.batch_size", "raise config.train.grad_accum_steps"),
    ):
        jax.block_until_ready(jax.jit(lambda: jnp.ones((2**22, 2**22)))())


def test_other_runtime_errors_pass_unchanged():
    def fails(_):
        raise ZeroDivisionError("raised by the host")

    with pytest.raises(jax.errors.JaxRuntimeError, match="raised by the host"), out_of_memory_is_user_error("config.a"):
        jax.block_until_ready(jax.jit(lambda: jax.pure_callback(fails, jax.ShapeDtypeStruct((), jnp.float32), 0))())
