"""Factors of the learning rate by part of the model, and what it means that a part is frozen.

`(("video/", 0.1), ("head_", 1.0))` trains the video branch with a tenth of the rate: a pattern is a regular expression
that matches from the beginning of a parameter's path, so the beginning of a path is one; the first that matches counts,
and where none does the factor is 1. Weight decay, which is decoupled, scales with the rate.

A factor of 0 freezes: no gradient is computed, the optimizer has no state, and a module of which every parameter is
frozen runs as in evaluation: without dropout or stochastic depth, its batch norms normalising by their running
statistics, which stay. (A dropout between modules of which some are trained stays on.)
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import re
from collections.abc import Callable, Generator, Iterable
from typing import Any

import jax
from flax import linen as nn

from musclemap_jax.errors import UserError
from musclemap_jax.sharding.rules import path_name

Multipliers = tuple[tuple[str, float], ...]
"""(regular expression matched from the beginning of the path, factor); the first that matches counts."""

_KEY = "config.optimizer.multipliers"
_MOST_NAMES = 3


def check_multipliers(multipliers: Multipliers) -> None:
    """Raises UserError for what is not a pair of a regular expression and a factor of at least 0."""
    for pair in multipliers:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise UserError(f"{_KEY}: expected pairs such as ('video/', 0.1), got {pair!r}")
        pattern, factor = pair
        if not isinstance(factor, int | float) or factor < 0:
            raise UserError(f"{_KEY}: expected a factor of at least 0 for {pattern!r}, got {factor!r}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise UserError(f"{_KEY}: {pattern!r} is not a regular expression: {error}") from error


def frozen_parts(names: Iterable[str]) -> Multipliers:
    """Multipliers that freeze the parts of the model with these top-level names."""
    return tuple((f"{re.escape(name)}/", 0.0) for name in names)


def factor_of(path: str, multipliers: Multipliers) -> float:
    """The factor of the parameter at a path, such as `video/norm/scale`."""
    return next((factor for pattern, factor in multipliers if re.match(pattern, path)), 1.0)


def map_factors(function: Callable[..., Any], params: Any, multipliers: Multipliers, *others: Any) -> Any:
    """function(factor, leaf of each of `others`) in place of each parameter."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _, *leaves: function(factor_of(path_name(path), multipliers), *leaves), params, *others
    )


def check_patterns(params: Any, multipliers: Multipliers) -> None:
    """Raises UserError if a pattern is the first to match for no parameter."""
    paths = [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    for index, (pattern, _) in enumerate(multipliers):
        matched = [path for path in paths if re.match(pattern, path)]
        if not matched:
            names = {
                "/".join(parts[:end])
                for parts in (path.split("/") for path in paths)
                for end in range(1, len(parts) + 1)
            }
            near = difflib.get_close_matches(pattern.rstrip("/"), sorted(names), _MOST_NAMES, cutoff=0.0)
            raise UserError(f"{_KEY}: {pattern!r} matches no parameter; near it are {', '.join(near)}")
        earlier = multipliers[:index]
        if all(any(re.match(other, path) for other, _ in earlier) for path in matched):
            raise UserError(
                f"{_KEY}: {pattern!r} takes no parameter, since patterns before it match them all: move it before them"
            )


def frozen_modules(params: Any, multipliers: Multipliers) -> frozenset[tuple[str, ...]]:
    """Paths of the modules that have parameters, all of which are frozen."""
    trained: dict[tuple[str, ...], bool] = {}
    for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]:
        name = path_name(path)
        parts = tuple(name.split("/"))
        for end in range(len(parts)):
            trained[parts[:end]] = trained.get(parts[:end], False) or factor_of(name, multipliers) > 0
    return frozenset(path for path, is_trained in trained.items() if not is_trained)


@contextlib.contextmanager
def modules_in_evaluation(frozen: frozenset[tuple[str, ...]]) -> Generator[None]:
    """Inside, the modules at these paths, and what they call, run with `train=False`."""
    if not frozen:
        yield
        return

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name == "__call__" and tuple(context.module.path) in frozen:
            signature = inspect.signature(context.orig_method)
            if "train" in signature.parameters:
                bound = signature.bind(*args, **kwargs)
                bound.arguments["train"] = False
                args, kwargs = bound.args, bound.kwargs
        return call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield
