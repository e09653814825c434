"""Tests of files on cloud storage: a store that understands only its own paths and cannot append."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from etils import epath
from etils.epath import gpath

from musclemap_jax.checkpoints.validation_scores import BEST_METRIC, ValidationScores
from musclemap_jax.storage.files import (
    LocalFolder,
    disable_listings_cache,
    local_copy,
    move_folder,
    replace_bytes,
    replace_text,
    staged,
)
from musclemap_jax.storage.run_log import RunLog
from tests.object_store import BUCKET, Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store(tmp_path / "bucket")
    store.folder.mkdir()
    monkeypatch.setattr(gpath._GPath, "_backend", property(lambda path: store))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return store


def test_a_run_log_on_a_store_is_resumed(store, tmp_path):
    for first in (0, 2):  # the first run logged a step more than it saved
        log = RunLog(epath.Path(f"{BUCKET}/run"), first)
        for step in range(first + 1, first + 4):
            log.scalars(step, {"train/loss": float(step)})
        log.flush()
        uploaded = (store.folder / "run" / "scalars.jsonl").read_text()
        assert json.loads(uploaded.splitlines()[-1]) == {"step": first + 3, "train/loss": first + 3.0}
        log.close()
    lines = (store.folder / "run" / "scalars.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    events = [path for path in (store.folder / "run" / "tensorboard").iterdir() if path.stat().st_size]
    assert events  # two of them, unless both runs began in the same second
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("remote", [True, False])
def test_a_folder_is_moved_with_its_contents(store, tmp_path, remote):
    root = epath.Path(f"{BUCKET}/run" if remote else tmp_path / "run")
    for name in ("4/whole", "5/data/one", "5/state/d/two"):
        (root / "checkpoints" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "checkpoints" / name).write_text(name)
    move_folder(root / "checkpoints" / "5", root / "damaged" / "5")
    assert [path.name for path in (root / "checkpoints").iterdir()] == ["4"]
    assert (root / "damaged" / "5" / "data" / "one").read_text() == "5/data/one"
    assert (root / "damaged" / "5" / "state" / "d" / "two").read_text() == "5/state/d/two"


def test_listings_of_cloud_storage_are_not_cached(monkeypatch):
    monkeypatch.setattr(fsspec.config, "conf", {})

    class CloudFileSystem(fsspec.AbstractFileSystem):
        protocol = ("gs", "gcs")  # as gcsfs has it
        cachable = False

    assert CloudFileSystem().dircache.use_listings_cache
    disable_listings_cache()
    assert not CloudFileSystem().dircache.use_listings_cache


def test_scores_are_written_by_one_process_and_read_by_all(store):
    workdir = epath.Path(f"{BUCKET}/run")
    workdir.mkdir()
    ValidationScores(workdir, writes=False).add(4, {BEST_METRIC: 0.9})
    ValidationScores(workdir, writes=True).add(3, {BEST_METRIC: 0.5})
    assert ValidationScores(workdir, writes=False).best([3, 4]) == 3


def test_a_folder_is_uploaded_with_its_subfolders(store):
    folder = LocalFolder(f"{BUCKET}/run/report")
    (folder.path / "plots").mkdir()
    (folder.path / "plots" / "a.png").write_bytes(b"image")
    folder.close()
    assert (store.folder / "run" / "report" / "plots" / "a.png").read_bytes() == b"image"
    assert not folder.path.exists()


def test_a_local_folder_is_the_folder_itself(tmp_path):
    folder = LocalFolder(tmp_path / "logs")
    assert folder.path == tmp_path / "logs"
    (folder.path / "a").write_text("a")
    folder.close()
    replace_text(epath.Path(tmp_path / "logs" / "a"), "b")
    assert [path.read_text() for path in (tmp_path / "logs").iterdir()] == ["b"]


def test_text_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = epath.Path(tmp_path / "a")
    replace_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "new \udce9")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_content_is_on_the_disk_before_a_file_gets_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / "a", []

    def fsync(descriptor):
        synced = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        seen.append((synced.name, path.read_bytes(), None if synced.is_dir() else synced.read_bytes()))

    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fsync)
    replace_bytes(path, b"new")
    assert seen == [("a.unfinished", b"old", b"new"), (tmp_path.name, b"new", None)]
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(("number", "is_written"), [(errno.EINVAL, True), (errno.ENOSPC, False), (errno.EIO, False)])
def test_a_file_system_that_cannot_sync_is_written_and_a_failing_one_is_an_error(
    tmp_path, monkeypatch, number, is_written
):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with contextlib.nullcontext() if is_written else pytest.raises(OSError, match=os.strerror(number)):
        replace_text(tmp_path / "a", "new")
    assert [each.name for each in tmp_path.iterdir()] == (["a"] if is_written else [])


def test_a_local_copy_of_a_remote_file_is_removed(store, tmp_path):
    (store.folder / "a.pt").write_text("content")
    with local_copy(f"{BUCKET}/a.pt") as copy:
        assert copy.read_text() == "content"
        assert copy.name == "a.pt"
    assert not copy.exists()
    with local_copy(store.folder / "a.pt") as copy:
        assert copy == store.folder / "a.pt"
    assert copy.exists()


def test_remote_data_is_copied_once_and_truncated_files_again(store, tmp_path):
    data = store.folder / "data"
    data.mkdir()
    for name in ("one", "two"):
        (data / name).write_text(name * 100)
    cache = tmp_path / "cache"
    local = staged(f"{BUCKET}/data", cache)
    (local / "one").write_text("cut short")
    kept = (local / "two").stat().st_mtime_ns
    assert staged(f"{BUCKET}/data", cache) == local
    assert [(local / name).read_text() for name in ("one", "two")] == ["one" * 100, "two" * 100]
    assert (local / "two").stat().st_mtime_ns == kept
    (data / "two").write_text("owt" * 100)  # data that was prepared again may have files of the same size
    os.utime(data / "two", (1, 1))
    staged(f"{BUCKET}/data", cache)
    assert (local / "two").read_text() == "owt" * 100
    assert staged(data, cache) == data


HOLD = """
import sys, time
from pathlib import Path
from musclemap_jax.storage.files import one_process_at_a_time
with one_process_at_a_time(Path(sys.argv[1])):
    print("in", time.monotonic(), flush=True)
    time.sleep(0.5)
    print("out", time.monotonic(), flush=True)
"""


def test_processes_of_a_machine_take_turns(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    times = sorted([float(line.split()[1]) for line in process.communicate()[0].splitlines()] for process in processes)
    assert times[0][1] <= times[1][0]
    assert Path(tmp_path / ".lock").exists()
