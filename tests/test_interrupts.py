"""A Ctrl-C that Python swallows ends the command all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

IN_A_COLLECTION = """
def interrupt(phase, info):
    gc.callbacks.remove(interrupt)
    signal.raise_signal(signal.SIGINT)

gc.callbacks.append(interrupt)
gc.collect()
"""
IN_A_DESTRUCTOR = """
class Interrupting:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

Interrupting()
"""
COMMAND = """
import gc, signal, sys, time
from musclemap_jax.errors import exit_on_user_error

def body():
    {interrupt}
    print("swallowed", flush=True)
    time.sleep(30)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(exit_on_user_error(body))
"""


@pytest.mark.parametrize("interrupt", [IN_A_COLLECTION, IN_A_DESTRUCTOR])
def test_an_interrupt_that_was_swallowed_comes_again(interrupt):
    command = COMMAND.format(interrupt=interrupt.strip().replace("\n", "\n    "))
    result = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (130, "swallowed\n", "")


def test_other_errors_that_python_swallows_are_still_shown():
    broken = "class Broken:\n    def __del__(self):\n        raise ValueError('shown')\n\nBroken()\nsys.exit(0)"
    command = COMMAND.format(interrupt=broken.replace("\n", "\n    "))
    result = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0
    assert "Exception ignored" in result.stderr
    assert "ValueError: shown" in result.stderr
