"""Carries out the runs of a study that are not finished, and keeps what each leaves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from musclemap_jax.errors import INTERRUPTED_STATUS, UserError
from musclemap_jax.experiment.prepared_data import prepare_data
from musclemap_jax.reporting.formatting import duration, percent
from musclemap_jax.runtime.process_exit import FAILURE_STATUS
from musclemap_jax.runtime.signals import catch_stop_signals
from musclemap_jax.runtime.terminals import survive_hangups
from musclemap_jax.study.earlier import is_collectable
from musclemap_jax.study.processes import STOPPED_STATUS, Ended, RunProcesses
from musclemap_jax.study.result import collect_run, validation_scores, write_result
from musclemap_jax.study.runs import CONSOLE, Run

_STOPPED = (STOPPED_STATUS, INTERRUPTED_STATUS, -signal.SIGTERM, -signal.SIGINT)
"""Exit statuses of runs that were asked to stop: after a save, at once, and before they could listen."""


def unfinished_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs without a result; one that ended without leaving it, such as by the main job alone, leaves it now."""
    for run in runs:
        if not run.result.exists() and is_collectable(run):
            write_result(run.result, collect_run(run))
    return [run for run in runs if not run.result.exists()]


def prepare_all(runs: Sequence[Run]) -> None:
    """Prepares the data of the runs, so that runs at the same time do not wait for each other.

    Raises:
      UserError: The data of a row cannot be prepared.
    """
    for spec in dict.fromkeys(run.spec.data for run in runs):
        prepare_data(spec)


def stop_on_signals(processes: RunProcesses) -> None:
    """Passes on to the runs what asks the study to stop, for the rest of this process; call it in the main thread."""

    def act(number: signal.Signals) -> None:
        if processes.over:
            os._exit(INTERRUPTED_STATUS)
        if not processes.asked_to_stop:
            os.write(2, b"\nstopping as soon as the runs are saved; press Ctrl-C again to leave at once\n")
        processes.stop(number)

    survive_hangups()
    catch_stop_signals(act)


def carry_out(runs: Sequence[Run], slots: Sequence[Mapping[str, str]], processes: RunProcesses) -> int:
    """Runs what is not finished, and writes the result of each run when it ends.

    Args:
      runs: The runs.
      slots: For each of the runs at a time, what is added to its environment (`devices.slot_environments`).
      processes: The processes of the runs.

    Returns:
      The exit status: 0 if all runs are finished, 1 if one failed, 130 if the study was asked to stop.
    """
    failed: list[Run] = []
    left: list[Run] = []
    count = 0

    def started(run: Run) -> None:
        _say(f"{run}: started, writes to {run.folder / CONSOLE}")

    def ended(how: Ended) -> None:
        nonlocal count
        if how.was_stopped and how.status in (None, *_STOPPED):
            left.append(how.run)
            return
        count += 1
        outcome, is_kept = _keep(how)
        if not is_kept:
            failed.append(how.run)
        _say(f"[{count}/{len(runs)}] {how.run}: {outcome}")

    processes.run_all(runs, slots, started, ended)
    if failed:
        names = ", ".join(map(str, failed))
        print(f"error: {len(failed)} of {len(runs)} runs failed: {names}: see {CONSOLE} of each", file=sys.stderr)
    if left:
        _say(f"stopped: {len(left)} runs are not finished; to resume, run the same command again")
        return INTERRUPTED_STATUS
    return FAILURE_STATUS if failed else 0


def _keep(how: Ended) -> tuple[str, bool]:
    """Writes the result of a run that has ended; returns a line on it, and whether it has a result.

    The line leaves out the scores on test, which are read when all rows are compared.
    """
    if how.status != 0:
        return f"failed with status {how.status}: {how.last_line}", False
    try:
        result = collect_run(how.run)
        write_result(how.run.result, result)
    except UserError as error:
        return f"failed: {error}", False
    scores = [f"{split} {percent(value)}" for split, value in validation_scores(result).items()]
    return ", ".join([f"finished in {duration(how.seconds)}", *scores]), True


def _say(text: str) -> None:
    """Writes a line in one piece, since threads write too."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
