"""The main job: prepares the data if it is absent, trains, evaluates and writes the report.

    python -m musclemap_jax.main --config=configs/transm3e.py:synthetic --workdir=runs/demo

If the workdir already holds a run, it is resumed. Invalid input ends with one line on stderr and exit status 2. A run
that is asked to stop (Ctrl-C, SIGTERM or SIGHUP) saves its state and exits with status 0; Ctrl-C again leaves at once.
On several machines the same command runs on each of them; docs/tpu.md has the commands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging as std_logging
from collections.abc import Callable, Sequence

import ml_collections
from absl import app, flags, logging

from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.experiment import command_line
from musclemap_jax.experiment.command_line import CONFIG, config_name, parse_flags
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.reporting.tables import decisions_table, headline_table
from musclemap_jax.runtime.preemption import Preempted, PreemptionNotice, stopped_line
from musclemap_jax.runtime.process_exit import run_and_exit
from musclemap_jax.runtime.process_log import ProcessLog
from musclemap_jax.runtime.profiling import parse_steps
from musclemap_jax.runtime.startup import (
    CONNECT_TIMEOUT_S,
    PEER_TIMEOUT_S,
    ProcessSpec,
    abandon_processes,
    describe_process,
    finish_processes,
    start_processes,
)
from musclemap_jax.storage.full_disk import full_disk_is_user_error
from musclemap_jax.storage.workdir_lock import WorkdirLock

MODES = ("train_and_eval", "train", "eval")
PACKAGE = "musclemap_jax"
_LESS_MEMORY = ("raise config.train.grad_accum_steps", "set config.model.remat=blocks")

log = std_logging.getLogger(f"{PACKAGE}.main")

flags.adopt_module_key_flags(command_line)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, logs and report.")
_MODE = flags.DEFINE_enum("mode", "train_and_eval", MODES, "What to do.")
_PROFILE_STEPS = flags.DEFINE_string("profile_steps", "", "Steps to trace into <workdir>/profile, such as 10-20.")
_COORDINATOR = flags.DEFINE_string("coordinator", "", "host:port of process 0; by default from the scheduler.")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 0, "Number of processes; by default from the scheduler. 1 runs one process alone."
)
_PROCESS_ID = flags.DEFINE_integer("process_id", -1, "Number of this process, from 0; by default from the scheduler.")
_PEER_TIMEOUT_S = flags.DEFINE_integer(
    "peer_timeout_s", PEER_TIMEOUT_S, "Seconds of silence after which another process counts as dead."
)
_CONNECT_TIMEOUT_S = flags.DEFINE_integer(
    "connect_timeout_s", CONNECT_TIMEOUT_S, "Seconds to wait for the other processes at the start."
)
_STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status", 0, "Exit status of a run that was asked to stop, for schedulers that restart failed runs."
)


def _count_table(counts: dict[str, int]) -> str:
    rows = [*counts.items(), ("total", sum(counts.values()))]
    return "\n".join(f"  {name:<28}{count:>14,}" for name, count in rows)


def run(
    spec: ExperimentSpec,
    workdir: str,
    notice: PreemptionNotice,
    mode: str,
    title: str,
    profile_steps: range = range(0),
) -> None:
    """Runs an experiment; every process of a run calls it.

    Args:
      spec: The result of `config.resolve`.
      workdir: The run's workdir.
      notice: Says when to stop early.
      mode: One of MODES.
      title: Title of the report.
      profile_steps: Steps to trace.

    Raises:
      UserError: Invalid configuration or data.
      Preempted: The run was asked to stop; its state is saved.
    """
    import jax

    from musclemap_jax.experiment.experiment import Experiment
    from musclemap_jax.experiment.prepared_data import load_data
    from musclemap_jax.experiment.run_decisions import decide
    from musclemap_jax.experiment.run_report import report_run
    from musclemap_jax.experiment.workdir import write_decisions
    from musclemap_jax.runtime.device_memory import out_of_memory_is_user_error
    from musclemap_jax.storage.run_times import RunTimes

    def show(text: str) -> None:
        if jax.process_index() == 0:
            print(text, flush=True)

    laps = RunTimes(workdir, writes=mode != "eval" and jax.process_index() == 0)
    data = load_data(spec.data)
    eval_splits = data.with_clips(spec.eval.splits) if mode != "train" else []
    laps.end("data")
    experiment = Experiment(spec, workdir, data, notice)
    show(f"parameters:\n{_count_table(experiment.parameter_counts())}")
    laps.end("model")
    if mode != "eval":
        with out_of_memory_is_user_error("config.train.batch_size", *_LESS_MEMORY):
            experiment.train(profile_steps, laps)
        laps.end("training")
        laps.save()
    if mode != "train":
        if mode == "eval" or spec.eval.checkpoint == "best":
            experiment.restore()
        with out_of_memory_is_user_error("config.eval.batch_size"):
            metrics, predictions = experiment.evaluate(eval_splits)
            decided = decide(experiment, predictions)
        laps.end("evaluation")
        laps.save()
        if jax.process_index() == 0:
            show(headline_table(metrics))
            if decided:
                decisions, of_decisions = decided
                write_decisions(experiment.workdir, decisions)
                metrics = dataclasses.replace(metrics, decisions=of_decisions)
                show(f"{decisions_table(of_decisions)}\n{decisions.rule()}\n")
            show(f"report: {report_run(experiment, metrics, predictions, laps, title)}")


def run_among_processes(
    config: ml_collections.ConfigDict, body: Callable[[ExperimentSpec, PreemptionNotice], None]
) -> int:
    """Takes the workdir, connects to the run's other processes, calls the body, and ends as its outcome requires.

    Args:
      config: A configuration with the structure of `config.default_config`.
      body: Called with the resolved configuration and the notice that says when to stop early.

    Returns:
      The exit status.

    Raises:
      UserError: A workdir in use, or other processes that did not come; invalid configuration or data, in a process
        alone. One of several processes ends here.
    """
    spec = resolve(config)
    processes = ProcessSpec(
        _COORDINATOR.value,
        _NUM_PROCESSES.value,
        _PROCESS_ID.value,
        _PEER_TIMEOUT_S.value,
        _CONNECT_TIMEOUT_S.value,
    )
    # Everything below imports JAX; the configuration is checked before that.
    from musclemap_jax.runtime.compilation_cache import use_compilation_cache
    from musclemap_jax.runtime.heap import keep_freed_memory
    from musclemap_jax.storage.files import disable_listings_cache

    keep_freed_memory()
    disable_listings_cache()
    use_compilation_cache()
    workdir = str(_WORKDIR.value)
    # An evaluation writes its report beside the run, so not during a training; a read-only workdir needs no lock.
    with WorkdirLock(workdir, optional=_MODE.value == "eval") as lock:
        notice = PreemptionNotice(_STOPPED_STATUS.value, lock.release)
        notice.listen()
        peers = start_processes(processes, lock.acquire)
        notice.share(peers)
        status = 0
        try:
            with full_disk_is_user_error(workdir), contextlib.closing(ProcessLog(workdir, PACKAGE)):
                log.info("%s", describe_process())
                body(spec, notice)
        except Preempted as stop:
            print(stopped_line(str(stop)), end="", flush=True)
            status = _STOPPED_STATUS.value
        except Exception as error:
            abandon_processes(error, peers)
            raise
        finish_processes(peers)
    return status


def main(argv: Sequence[str]) -> int:
    """The command, once its flags are parsed."""
    del argv
    # Orbax and TFDS log every step of theirs.
    logging.set_verbosity(logging.ERROR)
    std_logging.getLogger(PACKAGE).setLevel(std_logging.INFO)

    def body() -> int:
        workdir = _WORKDIR.value
        if CONFIG.value is None or not workdir:
            raise UserError("flags --config and --workdir are needed: --config=configs/transm3e.py --workdir=runs/NAME")
        name = config_name()
        profile_steps = parse_steps(_PROFILE_STEPS.value)

        def job(spec: ExperimentSpec, notice: PreemptionNotice) -> None:
            run(spec, workdir, notice, _MODE.value, name, profile_steps)

        return run_among_processes(CONFIG.value, job)

    return exit_on_user_error(body)


if __name__ == "__main__":
    app.run(lambda argv: run_and_exit(lambda: main(argv)), flags_parser=parse_flags)
