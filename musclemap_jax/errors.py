"""Errors that a user can mend, and how a command line ends on them."""

from __future__ import annotations

import sys
from collections.abc import Callable

USER_ERROR_STATUS = 2
"""Exit status of every command of this project when its input is at fault."""


class UserError(Exception):
    """Input, configuration or environment at fault: one line that names the file, the field and the mend."""


def exit_on_user_error(function: Callable[[], int | None]) -> int:
    """Runs a command's body; a UserError becomes one line on stderr and exit status 2, with no traceback.

    Args:
      function: the body; returns the exit status, None for 0.

    Returns:
      The exit status.
    """
    try:
        return function() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR_STATUS
