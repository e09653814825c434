"""A compared study of made-up runs."""

import pytest

from musclemap_jax.study.comparison import compare
from tests.study.fabricated import CROSSED, PERFECT, REVERSED, clips, plan, result_of, study_of


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """(study, runs, results): `worse` is the reference, `better` above it, on val_new and with other seeds' scores."""
    study = study_of(worse=1e-3, better=2e-3)
    runs = plan(study, tmp_path_factory.mktemp("made_up"))
    scores = {("worse", 0): REVERSED, ("worse", 1): REVERSED, ("better", 0): PERFECT, ("better", 1): CROSSED}
    results = [result_of(run, {"val_new": clips(scores[run.row, run.seed])}) for run in runs]
    return study, runs, results


@pytest.fixture(scope="session")
def comparison(made_up):
    """The comparison of `made_up`."""
    study, _, results = made_up
    return compare(study, results)
