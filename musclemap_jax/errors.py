"""Errors that a user can fix, and how a command ends on them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from musclemap_jax.interrupts import interrupts_kept

USER_ERROR_STATUS = 2
"""Exit status of every command of this project on invalid input."""

INTERRUPTED_STATUS = 130
"""Exit status of a command that Ctrl-C ended before it was done."""


class UserError(Exception):
    """Invalid input, configuration or environment: one line that names the file, the field and the fix."""

    status = USER_ERROR_STATUS
    """Exit status of the command that it ends."""


class AbsentProcessError(UserError):
    """The other processes of a run did not come in time, which may pass: unlike other user errors, worth a restart."""

    status = 6


def exit_on_user_error(function: Callable[[], int | None]) -> int:
    """Runs the body of a command; a UserError becomes one line on stderr and its exit status, without a traceback.

    Ctrl-C lets the body clean up and becomes status 130, in silence.

    Args:
      function: The body; returns the exit status, None for 0.

    Returns:
      The exit status.
    """
    try:
        with interrupts_kept():
            return function() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
