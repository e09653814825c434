"""Tests of how a full disk is reported; real ones are in tests/checkpoints/test_disk_full.py."""

import contextlib
import errno
import os

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.storage.full_disk import full_disk_is_user_error


def fail(number):
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(number):
    message = "^runs/demo: the disk is full: free some space and run the same command to resume"
    with pytest.raises(UserError, match=message), full_disk_is_user_error("runs/demo"):
        fail(number)


def test_closing_the_files_does_not_hide_what_failed_first():
    def run():
        with contextlib.ExitStack() as files:
            files.callback(fail, errno.ENOSPC)
            files.callback(fail, errno.ENOSPC)
            raise UserError("the checkpoint of step 3 is kept")

    with pytest.raises(UserError, match="the checkpoint of step 3 is kept"), full_disk_is_user_error("runs/demo"):
        run()


def test_other_errors_pass():
    with pytest.raises(PermissionError), full_disk_is_user_error("runs/demo"):
        fail(errno.EACCES)
