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
import os
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.experiment import command_line
from musclemap_jax.experiment.command_line import CONFIG, config_name, parse_flags
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.experiment.workdir import EVALUATION_FOLDER, REPORT_FOLDER, STRESS_FOLDER, evaluation_spec
from musclemap_jax.reporting.tables import baselines_table, decisions_table, headline_table
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
from musclemap_jax.storage.files import is_remote
from musclemap_jax.storage.full_disk import full_disk_is_user_error
from musclemap_jax.storage.workdir_lock import WorkdirLock
from musclemap_jax.stress.choice import DEFAULT_SPLITS, StressChoice, choose

MODES = ("train_and_eval", "train", "eval", "stress")
FOLDERS = {"eval": EVALUATION_FOLDER, "stress": STRESS_FOLDER}
"""Modes that leave the run as it is -> the folder in its workdir that they write."""
PACKAGE = "musclemap_jax"
_LESS_MEMORY = ("raise config.train.grad_accum_steps", "set config.model.remat=blocks")

log = std_logging.getLogger(f"{PACKAGE}.main")

flags.adopt_module_key_flags(command_line)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, logs and report.")
_MODE = flags.DEFINE_enum("mode", "train_and_eval", MODES, "What to do.")
_REPORT_DIR = flags.DEFINE_string(
    "report_dir",
    "",
    "Folder of the report; by default report/ in the workdir, evaluation/ for --mode=eval, stress/ for --mode=stress.",
)
_STRESS = flags.DEFINE_list("stress", [], "Perturbations of --mode=stress, such as blur,tilt; by default all.")
_STRESS_SPLITS = flags.DEFINE_list("stress_splits", list(DEFAULT_SPLITS), "Splits that --mode=stress tests.")
_EXTEND = flags.DEFINE_bool("extend", False, "Allow the run in the workdir to become longer than it was started with.")
_PROFILE_STEPS = flags.DEFINE_string("profile_steps", "", "Steps to trace into <workdir>/profile, such as 10-20.")
_COMPILED_STEP = flags.DEFINE_string(
    "compiled_step", "", "File of `musclemap_jax.compile_ahead --save`: the training step is loaded, not compiled."
)
_COORDINATOR = flags.DEFINE_string("coordinator", "", "host:port of process 0; by default from the scheduler.")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    0,
    "Number of processes; by default from the scheduler. 1 runs one process alone.",
    lower_bound=0,
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", -1, "Number of this process, from 0; by default from the scheduler.", lower_bound=-1
)
_PEER_TIMEOUT_S = flags.DEFINE_integer(
    "peer_timeout_s", PEER_TIMEOUT_S, "Seconds of silence after which another process counts as dead."
)
_CONNECT_TIMEOUT_S = flags.DEFINE_integer(
    "connect_timeout_s", CONNECT_TIMEOUT_S, "Seconds to wait for the other processes at the start."
)
_STOPPED_STATUS = flags.DEFINE_integer(
    "stopped_status",
    0,
    "Exit status of a run that was asked to stop, for schedulers that restart failed runs.",
    lower_bound=0,
    upper_bound=255,
)


def _count_table(counts: dict[str, int]) -> str:
    rows = [*counts.items(), ("total", sum(counts.values()))]
    return "\n".join(f"  {name:<28}{count:>14,}" for name, count in rows)


@dataclasses.dataclass(frozen=True)
class Task:
    """What to do with a run.

    Attributes:
      workdir: The run's workdir.
      mode: One of MODES.
      report_dir: Folder of the report.
      title: Title of the report.
      extend: Whether the run in the workdir may become longer.
      profile_steps: Steps to trace.
      compiled_step: File of the training step, compiled ahead.
    """

    workdir: str
    mode: str
    report_dir: str
    title: str
    extend: bool = False
    profile_steps: range = range(0)
    compiled_step: str = ""

    @property
    def output(self) -> str:
        """The folder that is written into: an evaluation leaves the workdir as it is, and may run beside a training."""
        return self.report_dir if self.mode in FOLDERS else self.workdir


def run(spec: ExperimentSpec, task: Task, notice: PreemptionNotice) -> None:
    """Runs an experiment; every process of a run calls it.

    Args:
      spec: The result of `config.resolve`.
      task: What to do.
      notice: Says when to stop early.

    Raises:
      UserError: Invalid configuration or data.
      Preempted: The run was asked to stop; its state is saved.
    """
    import jax
    from etils import epath

    from musclemap_jax.experiment.experiment import Experiment
    from musclemap_jax.experiment.prepared_data import load_data
    from musclemap_jax.experiment.run_decisions import decide, keep_decisions
    from musclemap_jax.experiment.run_report import report_run
    from musclemap_jax.reporting.report import remove_report
    from musclemap_jax.runtime.code_version import code_version
    from musclemap_jax.runtime.device_memory import out_of_memory_is_user_error
    from musclemap_jax.storage.run_times import RunTimes

    def show(text: str) -> None:
        if jax.process_index() == 0:
            print(text, flush=True)

    mode = task.mode
    if mode == "train_and_eval" and jax.process_index() == 0:
        _make_report_dir(task.report_dir)
    laps = RunTimes(task.workdir, mode != "eval" and jax.process_index() == 0, code_version())
    data = load_data(spec.data)
    eval_splits = data.with_clips(spec.eval.splits) if mode != "train" else []
    laps.end("data")
    experiment = Experiment(spec, task.workdir, data, notice)
    show(f"parameters:\n{_count_table(experiment.parameter_counts())}")
    laps.end("model")
    if mode != "eval":
        with out_of_memory_is_user_error("config.train.batch_size", *_LESS_MEMORY):
            experiment.train(task.profile_steps, laps, task.extend, task.compiled_step)
        laps.end("training")
        laps.save()
    if mode != "train":
        if mode == "eval" or spec.eval.checkpoint == "best":
            experiment.restore()
        with out_of_memory_is_user_error("config.eval.batch_size"):
            predictions = {split: experiment.predict(split) for split in eval_splits}
            decided = decide(experiment, predictions)
        if jax.process_index() == 0:
            predictions, metrics = experiment.beside_baselines(predictions)
            laps.end("evaluation")
            laps.save()
            folder = epath.Path(task.report_dir)
            remove_report(folder)
            show(f"scored: {experiment.scored}\n{headline_table(metrics)}\n{baselines_table(metrics)}")
            if decided:
                decisions, of_decisions = decided
                keep_decisions(decisions, experiment, folder if mode == "eval" else None)
                metrics = dataclasses.replace(metrics, decisions=of_decisions)
                show(f"{decisions_table(of_decisions)}\n{decisions.rule()}\n")
            show(f"report: {report_run(experiment, metrics, predictions, laps, task.title, folder)}")


def stress(spec: ExperimentSpec, task: Task, choice: StressChoice, notice: PreemptionNotice) -> None:
    """Tests how robust a run is; every process of a run calls it. Arguments and errors are those of `run_stress`."""
    from musclemap_jax.stress.run import run_stress

    run_stress(spec, task.workdir, task.report_dir, task.title, choice, notice)


def _open_log(folder: str) -> ProcessLog:
    """Opens this process's log; it is the first file that is written."""
    try:
        return ProcessLog(folder, PACKAGE)
    except OSError as error:
        way = "pass another --report_dir" if _MODE.value in FOLDERS else "pass another --workdir"
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}: {way}") from error


def _make_report_dir(folder: str) -> None:
    """Makes sure, before the training, that the report can be written."""
    from etils import epath

    path = epath.Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--report_dir={folder}: cannot be made: {error.strerror or error}: pass another folder"
        ) from error
    if not (is_remote(folder) or os.access(path, os.W_OK)):
        raise UserError(f"--report_dir={folder}: cannot be written: pass another folder")


def run_among_processes(folder: str, body: Callable[[PreemptionNotice], None]) -> int:
    """Takes the folder, connects to the run's other processes, calls the body, and ends as its outcome requires.

    Args:
      folder: What this command writes into, with the per-process logs.
      body: What each process does; called with the notice that says when to stop early.

    Returns:
      The exit status.

    Raises:
      UserError: A workdir in use, or other processes that did not come; invalid configuration or data, in a process
        alone. One of several processes ends here.
    """
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

    keep_freed_memory()
    use_compilation_cache()
    # A read-only folder needs no lock.
    with WorkdirLock(folder, optional=_MODE.value in FOLDERS) as lock:
        notice = PreemptionNotice(_STOPPED_STATUS.value, lock.release)
        notice.listen()
        peers = start_processes(processes, lock.acquire)
        notice.share(peers)
        status = 0
        try:
            with full_disk_is_user_error(folder), contextlib.closing(_open_log(folder)):
                log.info("%s", describe_process())
                body(notice)
        except Preempted as stop:
            print(stopped_line(str(stop)), end="", flush=True)
            status = _STOPPED_STATUS.value
        except Exception as error:
            abandon_processes(error, peers)
            raise
        finish_processes(peers)
    return status


def _task() -> Task:
    """What the flags ask for."""
    workdir, mode = str(_WORKDIR.value), _MODE.value
    report_dir = _REPORT_DIR.value or os.path.join(workdir, FOLDERS.get(mode, REPORT_FOLDER))
    return Task(
        workdir,
        mode,
        report_dir,
        title=config_name(),
        extend=_EXTEND.value,
        profile_steps=parse_steps(_PROFILE_STEPS.value),
        compiled_step=_COMPILED_STEP.value,
    )


def main(argv: Sequence[str]) -> int:
    """The command, once its flags are parsed."""
    del argv
    # Orbax and TFDS log every step of theirs.
    logging.set_verbosity(logging.ERROR)
    std_logging.getLogger(PACKAGE).setLevel(std_logging.INFO)

    def body() -> int:
        if CONFIG.value is None or not _WORKDIR.value:
            raise UserError("flags --config and --workdir are needed: --config=configs/transm3e.py --workdir=runs/NAME")
        task = _task()
        spec = resolve(CONFIG.value)
        if task.mode in FOLDERS:
            spec = evaluation_spec(task.workdir, spec)
        if task.mode != "stress" and (_STRESS.present or _STRESS_SPLITS.present):
            raise UserError(f"--stress and --stress_splits belong to --mode=stress, got --mode={task.mode}")
        if task.mode == "stress":
            choice = choose(_STRESS.value, _STRESS_SPLITS.value, spec.input.modalities)
            return run_among_processes(task.output, lambda notice: stress(spec, task, choice, notice))
        return run_among_processes(task.output, lambda notice: run(spec, task, notice))

    return exit_on_user_error(body)


if __name__ == "__main__":
    app.run(lambda argv: run_and_exit(lambda: main(argv)), flags_parser=parse_flags)
