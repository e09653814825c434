"""The command's part: from a trained run to the files of its stress test."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import jax
from etils import epath

from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.experiment import Experiment
from musclemap_jax.experiment.prepared_data import load_data
from musclemap_jax.experiment.run_report import run_identity
from musclemap_jax.runtime.device_memory import out_of_memory_is_user_error
from musclemap_jax.runtime.preemption import PreemptionNotice
from musclemap_jax.runtime.process_log import given_command
from musclemap_jax.storage.files import LocalFolder
from musclemap_jax.stress.choice import StressChoice
from musclemap_jax.stress.page import render_page
from musclemap_jax.stress.robustness import Robustness
from musclemap_jax.stress.stress_test import stress_test
from musclemap_jax.stress.tables import half_table, strength_table, write_stress_csv

JSON, CSV, PAGE = "stress.json", "stress.csv", "stress.html"

log = logging.getLogger(__name__)


def run_stress(
    spec: ExperimentSpec, workdir: str, folder: str, title: str, choice: StressChoice, notice: PreemptionNotice
) -> None:
    """Tests the run in a workdir, prints the tables and writes the files; every process of a run calls it.

    Args:
      spec: The result of `evaluation_spec`.
      workdir: The run's workdir.
      folder: Where to write.
      title: Name of the configuration.
      choice: What is tested.
      notice: Says when to stop early.

    Raises:
      UserError: No checkpoint, data that does not fit the run, or none of the splits has clips.
      Preempted: The test was asked to stop; nothing is written.
    """
    if choice.unseen:
        log.info("left out, since the run reads %s: %s", ", ".join(spec.input.modalities), ", ".join(choice.unseen))
    data = load_data(spec.data)
    splits = data.with_clips(choice.splits, "--stress_splits")
    experiment = Experiment(spec, workdir, data, notice)
    experiment.restore()
    with out_of_memory_is_user_error("config.eval.batch_size"):
        robustness = stress_test(experiment, choice.perturbations, splits)
    if jax.process_index() == 0:
        print(f"scored: {experiment.scored}\n{strength_table(robustness)}\n{half_table(robustness)}", flush=True)
        with contextlib.closing(LocalFolder(folder)) as local:
            identity = run_identity(experiment)
            page = write_outputs(local.path, robustness, f"{title} · seed {spec.seed} · {workdir}", identity)
        print(f"stress test: {epath.Path(folder) / page.name}", flush=True)


def write_outputs(folder: Path, robustness: Robustness, title: str, identity: Sequence[str]) -> Path:
    """Writes ``stress.json``, ``stress.csv`` and ``stress.html`` into a folder that exists; returns the page's path."""
    files = {JSON: "every number of this page", CSV: "the curves as a table"}
    (folder / JSON).write_text(robustness.to_json(), encoding="utf-8")
    write_stress_csv(folder / CSV, robustness)
    (folder / PAGE).write_text(render_page(robustness, title, identity, given_command(), files), encoding="utf-8")
    return folder / PAGE
