"""Scenic for the tests with its mark, which are skipped where it is not installed."""

import importlib.util

import jax
import pytest

from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.pretrained.architectures import ARCHITECTURES


def is_installed():
    """Whether Google's Scenic is there, not another package of that name."""
    return importlib.util.find_spec("scenic") is not None and importlib.util.find_spec("scenic.train_lib") is not None


def pytest_collection_modifyitems(items):
    if not is_installed():
        for item in items:
            if item.get_closest_marker("scenic"):
                item.add_marker(pytest.mark.skip("Scenic is not installed: tools/install_scenic.py"))


@pytest.fixture
def scenics_own_rules():
    """JAX's default rules, for which Scenic's code is written, and the branches of its models, for one test."""
    tables = [(table, dict(table)) for table in (BRANCHES, ARCHITECTURES)]
    from musclemap_jax.scenic_bridge.token_learner import TOKEN_LEARNER_BRANCH
    from musclemap_jax.scenic_bridge.vivit import VIVIT_BRANCH

    BRANCHES.update({branch.name: branch for branch in (VIVIT_BRANCH, TOKEN_LEARNER_BRANCH)})
    jax.config.update("jax_numpy_rank_promotion", "allow")
    yield
    jax.config.update("jax_numpy_rank_promotion", "raise")
    for table, entries in tables:
        table.clear()
        table.update(entries)
