"""What earlier calls have done: which runs are finished, and which were run with another configuration."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.resumption import Change
from musclemap_jax.experiment.workdir import CONFIG, REPORT_FOLDER, trained_spec
from musclemap_jax.reporting.report import remove_report
from musclemap_jax.study.configurations import deciding_changes, needs_training
from musclemap_jax.study.result import is_finished, result_of_run
from musclemap_jax.study.runs import Run

_NAMED = 3
"""Changes that an error names."""


def is_collectable(run: Run) -> bool:
    """Whether the run's workdir holds its report, made with its configuration."""
    return is_finished(run.folder) and not _changes_of_workdir(run)


def check_unchanged(runs: Sequence[Run], rerun: bool = False) -> None:
    """Compares every run with what earlier calls have left of it.

    Args:
      runs: The runs.
      rerun: Whether what has changed is run again. Results and reports are deleted, and whole workdirs unless only the
        evaluation has changed.

    Raises:
      UserError: A run was run with another configuration; names the keys.
    """
    changed = {number: found for number, run in enumerate(runs) if (found := _changes(run))}
    if changed and not rerun:
        number, found = next(iter(changed.items()))
        keys = "; ".join(map(str, found[:_NAMED])) + ("; ..." if len(found) > _NAMED else "")
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{runs[number]}{more}: already run with another configuration ({keys}): pass --rerun to run "
            "it again, give the row another name, or choose another --workdir"
        )
    for number in changed:
        runs[number].result.unlink(missing_ok=True)
        if needs_training(_changes_of_workdir(runs[number])):
            shutil.rmtree(runs[number].folder)
        else:  # once its workdir has the new configuration, the earlier report would count as that of the new one
            remove_report(epath.Path(runs[number].folder / REPORT_FOLDER))


def _changes(run: Run) -> list[Change]:
    """The deciding keys by which a run differs from its result or, without one, from its workdir."""
    if run.result.exists():
        return deciding_changes(result_of_run(run).spec, run.spec)
    return _changes_of_workdir(run)


def _changes_of_workdir(run: Run) -> list[Change]:
    return deciding_changes(trained_spec(run.folder), run.spec) if (run.folder / CONFIG).exists() else []
