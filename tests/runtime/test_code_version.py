"""The version of the code: a commit where there is one."""

from __future__ import annotations

import re
import subprocess

import musclemap_jax
from musclemap_jax.runtime.code_version import code_version


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_a_checkout_has_its_commit_and_whether_it_was_changed(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "module.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "untracked").write_text("")
    clean = code_version(tmp_path)
    assert re.fullmatch(r"commit [0-9a-f]{7,}", clean)
    (tmp_path / "module.py").write_text("changed")
    assert code_version(tmp_path) == clean  # what this process began with
    code_version.cache_clear()
    assert code_version(tmp_path) == f"{clean}, changed"


def test_elsewhere_it_is_the_version_of_the_package(tmp_path):
    version = f"version {musclemap_jax.__version__}"
    assert code_version(tmp_path) == version
    assert code_version(tmp_path / "absent") == version
    # Installed somewhere below another project's checkout.
    git(tmp_path, "init")
    (tmp_path / "site-packages").mkdir()
    code_version.cache_clear()
    assert code_version(tmp_path / "site-packages") == version
