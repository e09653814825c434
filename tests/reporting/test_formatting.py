"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from musclemap_jax.reporting.formatting import decimal, duration, percent, percentage_points


def test_percentages_have_one_decimal_and_differences_a_sign():
    assert percent(0.5) == "50.0"
    assert decimal(15.25) == "15.2"
    assert percentage_points(0.5) == "+50.0"
    assert percentage_points(-0.0625) == "-6.2"
    assert percent(math.nan) == percentage_points(math.nan) == decimal(math.nan) == "–"  # noqa: RUF001 - the dash of an undefined value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.35, "350 ms"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_have_readable_units(seconds, text):
    assert duration(seconds) == text
