"""Tests of the lock of a workdir, held by real processes; on cloud storage by two owners of this one."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from etils.epath import gpath

from musclemap_jax.errors import UserError
from musclemap_jax.storage import workdir_lock
from musclemap_jax.storage.workdir_lock import OWNER, Owner, WorkdirLock
from tests.object_store import BUCKET, Store

HOLD = """
import sys
from musclemap_jax.storage import workdir_lock
from musclemap_jax.storage.workdir_lock import WorkdirLock
workdir_lock._BEAT_S = 0.2
with WorkdirLock(sys.argv[1]) as lock:
    lock.acquire()
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of ``tmp_path / "run"``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture
def fast(monkeypatch):
    """Signs of life every 0.1 s, and death after 1 s without."""
    for name, value in {"_BEAT_S": 0.1, "_SILENCE_S": 1.0, "_SETTLE_S": 0.1}.items():
        monkeypatch.setattr(workdir_lock, name, value)


@pytest.fixture(params=["local", "without_flock", "cloud"])
def workdir(request, tmp_path, monkeypatch, fast):
    """A workdir on each kind of storage."""
    if request.param == "without_flock":

        def flock(file, operation):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(workdir_lock.fcntl, "flock", flock)
    if request.param == "cloud":
        store = Store(tmp_path)
        monkeypatch.setattr(gpath._GPath, "_backend", property(lambda path: store))
        return f"{BUCKET}/run"
    return str(tmp_path / "run")


def write_owner(folder, **changes):
    """Writes the file that an owner, by default this process, left behind."""
    folder.mkdir()
    (folder / OWNER).write_text(dataclasses.replace(Owner.this_process(), **changes).text())


def test_a_second_owner_is_refused_with_the_first_ones_host_pid_and_start(workdir, tmp_path):
    with WorkdirLock(workdir) as lock:
        lock.acquire()
        who = rf"process {os.getpid()} on {socket.gethostname()} since \d+-\d+-\d+ \d+:\d+:\d+ UTC"
        for optional in (False, True):
            with pytest.raises(UserError, match=rf"^{workdir}: in use by {who} \(owner.json\): wait until it"):
                WorkdirLock(workdir, optional).acquire()
        deadline = time.monotonic() + 30
        while int(json.loads((tmp_path / "run" / OWNER).read_text())["beats"]) < 1:
            assert time.monotonic() < deadline, "it does not show that it lives"
            time.sleep(0.05)
    assert not (tmp_path / "run" / OWNER).exists()
    with WorkdirLock(workdir) as lock:
        lock.acquire()


def test_a_process_holds_it_until_it_is_killed(holder, tmp_path):
    with pytest.raises(UserError, match=f"in use by process {holder.pid} on {socket.gethostname()} since"):
        WorkdirLock(tmp_path / "run").acquire()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    started = time.monotonic()
    with WorkdirLock(tmp_path / "run") as lock:
        lock.acquire()
        assert json.loads((tmp_path / "run" / OWNER).read_text())["pid"] == os.getpid()
    assert time.monotonic() - started < 2


def test_a_process_that_ends_leaves_nothing(holder, tmp_path):
    holder.communicate("\n")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_pid_that_another_process_has_got_since_is_free(workdir, tmp_path):
    write_owner(tmp_path / "run", ticks="1")
    with WorkdirLock(workdir) as lock:
        lock.acquire()


@pytest.mark.parametrize("alive", [True, False])
def test_an_owner_on_another_machine_lives_if_it_renews_the_file(workdir, tmp_path, alive, capsys):
    write_owner(tmp_path / "run", host="node7", pid=4711, kernel="another", started="2026-01-02 03:04:05 UTC")
    owner, stop = Owner(**json.loads((tmp_path / "run" / OWNER).read_text())), threading.Event()

    def live():
        beats = 0
        while not stop.wait(0.1):
            beats += 1
            (tmp_path / "run" / OWNER).write_text(dataclasses.replace(owner, beats=beats).text())

    thread = threading.Thread(target=live)
    if alive:
        thread.start()
        with pytest.raises(UserError, match="in use by process 4711 on node7 since 2026-01-02 03:04:05 UTC"):
            WorkdirLock(workdir).acquire()
        stop.set()
        thread.join()
    else:
        with WorkdirLock(workdir) as lock:
            lock.acquire()
    assert "waiting up to 1 s to learn whether process 4711 on node7" in capsys.readouterr().err


def test_of_two_starts_on_cloud_storage_at_the_same_moment_one_is_refused(tmp_path, monkeypatch, fast):
    store = Store(tmp_path)
    monkeypatch.setattr(gpath._GPath, "_backend", property(lambda path: store))
    both_have_looked, outcomes = threading.Barrier(2), []
    look = WorkdirLock._refuse_if_held

    def looks(lock):
        look(lock)
        if not hasattr(lock, "looked"):
            lock.looked = True
            both_have_looked.wait()

    monkeypatch.setattr(WorkdirLock, "_refuse_if_held", looks)
    locks = [WorkdirLock(f"{BUCKET}/run") for _ in range(2)]

    def start(lock):
        try:
            lock.acquire()
            outcomes.append("held")
        except UserError:
            outcomes.append("refused")

    threads = [threading.Thread(target=start, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", "refused"]
    for lock in locks:
        lock.release()
    assert not (tmp_path / "run" / OWNER).exists()


def test_a_run_that_lost_its_workdir_ends(holder, tmp_path):
    write = Owner.this_process().text()
    (tmp_path / "run" / OWNER).write_text(write)
    assert holder.wait(timeout=60) == workdir_lock.LOST_STATUS


def test_of_two_first_evaluations_one_is_refused(tmp_path):
    with WorkdirLock(tmp_path / "evaluation", optional=True) as first:
        first.acquire()
        with pytest.raises(UserError, match="evaluation: in use by process"):
            WorkdirLock(tmp_path / "evaluation", optional=True).acquire()


def test_an_error_of_the_storage_does_not_end_the_sign_of_life(tmp_path, monkeypatch, fast):
    def fails(lock):
        raise RuntimeError("the storage has errors of its own")

    with WorkdirLock(tmp_path) as lock:
        lock.acquire()
        with monkeypatch.context() as patched:
            patched.setattr(WorkdirLock, "_read", fails)
            time.sleep(0.3)
        before = lock._read()
        deadline = time.monotonic() + 10
        while lock._read() == before:
            assert time.monotonic() < deadline


def test_an_evaluation_needs_no_lock_where_it_cannot_write(tmp_path):
    (tmp_path / "file").touch()
    WorkdirLock(tmp_path / "file", optional=True).acquire()
    with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path))}/file: cannot be written .*: choose another"):
        WorkdirLock(tmp_path / "file").acquire()
