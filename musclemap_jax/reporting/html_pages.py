"""How pages are rendered: templates with every value escaped, in files that hold all they show."""

from __future__ import annotations

import base64
import functools
import math

import jinja2
import numpy as np

from musclemap_jax.reporting.formatting import (
    decimal,
    percent,
    percent_range,
    percentage_points,
    points_range,
    whole_percent,
)


@functools.cache
def page_environment(package: str = "musclemap_jax.reporting") -> jinja2.Environment:
    """The environment for the templates of a package; they may extend `base.html`, which is here."""
    packages = dict.fromkeys((package, "musclemap_jax.reporting"))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, ".") for name in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "base64": lambda data: base64.b64encode(data).decode(),
        "css_width": css_width,
        "decimal": decimal,
        "percent": percent,
        "percent_range": percent_range,
        "percentage_points": percentage_points,
        "points_range": points_range,
        "whole_percent": whole_percent,
    }
    environment.tests |= {"nan": math.isnan}  # ty: ignore[unsupported-operator]  # typed by its defaults
    return environment


def css_width(fraction: float) -> str:
    """A fraction as a CSS length; 0 for NaN."""
    return f"{100 * float(np.clip(np.nan_to_num(fraction), 0, 1)):.2f}%"
