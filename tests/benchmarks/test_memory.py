"""Memory of a process and its descendants."""

import subprocess
import sys

import pytest

from benchmarks.memory import tree_bytes

MEBIBYTE = 2**20

HOLDER = """
import subprocess, sys
command = [sys.executable, "-c", "block = bytearray(b'x' * (100 << 20)); print(flush=True); input()"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
input()
child.communicate(b"end")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_a_child_is_included():
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        found = tree_bytes(process.pid)
        process.communicate(b"end")
    assert 100 * MEBIBYTE < found < 250 * MEBIBYTE


def test_a_missing_process_has_no_memory():
    assert tree_bytes(2**22 + 1) == 0
