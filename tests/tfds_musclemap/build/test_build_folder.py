"""The build's folder: room on the disk, leftovers of dead builds, one build at a time."""

from __future__ import annotations

import errno
import subprocess
import sys
from types import SimpleNamespace

import pytest

from musclemap_jax.errors import UserError
from tfds_musclemap.build import build_folder


def test_the_error_of_too_little_disk_space_names_both_sizes_and_the_folder(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        build_folder.shutil, "disk_usage", lambda path: asked.append(path) or SimpleNamespace(free=10**9)
    )
    build_folder.check_free_disk(tmp_path / "not" / "yet", 10**9)
    with pytest.raises(UserError, match=r"not/yet: expected about 2,000,000,000 free bytes .* found 1,000,000,000"):
        build_folder.check_free_disk(tmp_path / "not" / "yet", 2 * 10**9)
    assert asked == [tmp_path, tmp_path]


def test_leftovers_of_this_version_alone_are_removed(tmp_path):
    for name in ("incomplete.AB12_1.0.0", "incomplete.raw_dataset_1.0.0", "incomplete.AB12_1.1.0", "0.9.0"):
        (tmp_path / name / "inside").mkdir(parents=True)
    with build_folder.build_lock(tmp_path / "1.0.0"):
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["0.9.0", "incomplete.AB12_1.1.0"]


def test_a_second_build_waits_for_the_first(tmp_path):
    program = (
        "import sys; from pathlib import Path; from tfds_musclemap.build.build_folder import build_lock\n"
        "with build_lock(Path(sys.argv[1])): print('built', flush=True)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "1.0.0")]
    with build_folder.build_lock(tmp_path / "1.0.0"):
        second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "waiting for another process" in second.stderr.readline()
        assert second.poll() is None
    output, _ = second.communicate(timeout=20)
    assert output == "built\n"


def test_the_scratch_folder_is_gone_afterwards_also_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), build_folder.scratch_folder(tmp_path / "1.0.0") as scratch:  # noqa: PT012
        (scratch / "file").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="No space left"), build_folder.disk_faults_are_user_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    fix = f"{tmp_path}: the build could not write: Not a directory: choose another data_dir"
    with pytest.raises(UserError, match=fix), build_folder.disk_faults_are_user_errors(tmp_path):
        raise OSError(errno.ENOTDIR, "Not a directory")
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "sub"):
        with (
            pytest.raises(UserError, match=r"could not write: (Not a directory|File exists): .* another data_dir"),
            build_folder.disk_faults_are_user_errors(folder),
            build_folder.build_lock(folder / "musclemap" / "1.0.0"),
        ):
            pass
    with pytest.raises(OSError, match="else"), build_folder.disk_faults_are_user_errors(tmp_path):
        raise OSError(errno.EIO, "something else")
