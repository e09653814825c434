"""Runs a study: a grid of configurations and seeds, each run by the main job, and compares its rows.

    python -m musclemap_jax.study --study=smoke --workdir=runs/smoke

Runs that are finished are not run again, others are resumed, so the same command goes on after an interruption. Any
key of the configurations can be changed for all rows, as for the main job: --config.data.data_dir=data. The comparison
is written to the workdir: study.html, study.md and study.csv; and for each run a small JSON file to results/, from
which it can be made on any machine. The exit status is 1 if a run failed and 130 if the study was asked to stop.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import INTERRUPTED_STATUS, UserError, exit_on_user_error
from musclemap_jax.storage.files import is_remote
from musclemap_jax.storage.workdir_lock import WorkdirLock
from musclemap_jax.study.carrying_out import carry_out, prepare_all, stop_on_signals, unfinished_runs
from musclemap_jax.study.collecting import collect
from musclemap_jax.study.devices import slot_environments, visible_gpus
from musclemap_jax.study.earlier import check_unchanged
from musclemap_jax.study.processes import RunProcesses
from musclemap_jax.study.runs import RESULTS, Run, plan_runs, select_runs
from musclemap_jax.study.study import load_study

_OVERRIDE = re.compile(r"--?config\.([\w.]+)=(.*)", re.DOTALL)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m musclemap_jax.study", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--study", required=True, metavar="FILE", help="a file, or the name of one in configs/studies/")
    parser.add_argument("--workdir", required=True, type=_local_folder, metavar="DIR", help="folder of the study")
    results_help = "folder of the JSON files that finished runs leave (default: results/ in the workdir)"
    parser.add_argument("--results", type=_local_folder, metavar="DIR", help=results_help)
    parser.add_argument("--only", action="append", default=[], metavar="ROW", help="run this row; may be given again")
    parallel_help = "runs at a time (default: one for each GPU, each of which sees its own; 1 on a CPU)"
    parser.add_argument("--parallel", type=int, metavar="N", help=parallel_help)
    parser.add_argument("--rerun", action="store_true", help="run again what was run with another configuration")
    parser.add_argument("--collect", action="store_true", help="run nothing; compare the runs that are finished")
    parser.epilog = "--config.KEY=VALUE changes a key of the configuration of every row."
    return parser


def _local_folder(text: str) -> Path:
    if is_remote(text):
        raise argparse.ArgumentTypeError(f"expected a local folder, got {text}")
    return Path(text)


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, dict[str, str]]:
    """The options, and the overrides of every row's configuration."""
    options, rest = _parser().parse_known_args(expand_home(arguments))
    overrides = {}
    for argument in rest:
        match = _OVERRIDE.fullmatch(argument)
        if match is None:
            raise UserError(f"unexpected argument {argument!r}: see --help")
        overrides[match[1]] = match[2]
    if "seed" in overrides:
        raise UserError("--config.seed: the seeds are the study's own: change them in its file")
    return options, overrides


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""

    def body() -> int:
        options, overrides = _parse(arguments)
        if options.collect and options.rerun:
            raise UserError("--collect runs nothing: leave out --rerun, or --collect")
        study = load_study(options.study)
        runs = plan_runs(study, options.workdir, options.results or options.workdir / RESULTS, overrides)
        chosen = select_runs(runs, options.only)
        status = 0
        if options.collect:
            check_unchanged(chosen)
            unfinished_runs(chosen)
        else:
            slots = slot_environments(options.parallel, os.environ, visible_gpus(os.environ))
            with WorkdirLock(options.workdir) as lock:
                lock.acquire()
                status = _run(chosen, slots, options.rerun)
        if status != INTERRUPTED_STATUS:
            collect(study, runs, options.workdir)
        return status

    return exit_on_user_error(body)


def _run(chosen: Sequence[Run], slots: Sequence[Mapping[str, str]], rerun: bool) -> int:
    """Runs what is not finished; returns the exit status."""
    check_unchanged(chosen, rerun)
    waiting = unfinished_runs(chosen)
    print(f"{len(chosen)} runs, {len(chosen) - len(waiting)} of them finished", flush=True)
    prepare_all(waiting)
    processes = RunProcesses()
    stop_on_signals(processes)
    return carry_out(waiting, slots, processes)


if __name__ == "__main__":
    sys.exit(main())
