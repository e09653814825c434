"""Tests of the search for the largest batch."""

import pytest

from musclemap_jax.compile_ahead.largest_batch import find_largest
from musclemap_jax.compile_ahead.step_report import OutOfMemoryError


@pytest.mark.parametrize("capacity", [4, 5, 12, 27, 64])
def test_the_largest_multiple_that_fits_is_found_in_few_compilations(capacity):
    tried = []

    def compile_step(batch_size):
        tried.append(batch_size)
        if batch_size > capacity:
            raise OutOfMemoryError("Used 17G of 15G hbm")
        return batch_size

    assert find_largest(compile_step, unit=4) == capacity // 4 * 4
    assert len(tried) == len(set(tried)) <= 11


def test_the_error_is_raised_if_not_even_the_smallest_batch_fits():
    def compile_step(batch_size):
        raise OutOfMemoryError("Used 17G of 15G hbm")

    with pytest.raises(OutOfMemoryError):
        find_largest(compile_step, unit=4)
