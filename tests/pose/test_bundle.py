"""The model bundle: what is taken of a wheel, what pip brought, and a file that is whole or not there."""

from __future__ import annotations

import hashlib
import os
import sys
import types
import zipfile
from importlib.machinery import ModuleSpec

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.pose import bundle

CONTENTS = {"pose_detector.tflite": b"the detector" * 100, "pose_landmarks_detector.tflite": b"the landmarks" * 100}
WHEEL_NAME = "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
DIST_INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.21\n",
    "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_x86_64\n",
    "RECORD": "",
}


@pytest.fixture
def make_wheel(tmp_path):
    """A function (contents=CONTENTS) that writes a wheel as pip accepts it, with these models."""

    def make(contents=CONTENTS):
        path = tmp_path / "wheels" / WHEEL_NAME
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("../../evil.py", "never unpacked")
            for name, content in contents.items():
                wheel.writestr(bundle.MODELS[name].member, content)
            for name, text in DIST_INFO.items():
                wheel.writestr(f"mediapipe-0.10.21.dist-info/{name}", text)
        return path

    return make


@pytest.fixture
def pip_offline(tmp_path, monkeypatch):
    """pip that finds nothing but the wheels of `make_wheel`."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "wheels").mkdir(exist_ok=True)
    (tmp_path / "downloaded").mkdir()
    return tmp_path / "downloaded"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The project's cache folder, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "musclemap_jax"


def test_two_members_are_read_and_nothing_is_unpacked(make_wheel, tmp_path):
    wheel = make_wheel()
    assert bundle.read_models(wheel) == CONTENTS
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {wheel}


def test_a_wheel_without_a_model_or_with_a_huge_one_is_refused(make_wheel):
    wheel = make_wheel({"pose_detector.tflite": b""})
    with pytest.raises(UserError, match=f"{WHEEL_NAME}: expected the pose models: .*pose_landmark_full.tflite"):
        bundle.read_models(wheel)
    wheel = make_wheel(CONTENTS | {"pose_detector.tflite": bytes(bundle.MAX_MODEL_BYTES + 1)})
    with pytest.raises(UserError, match=r"pose_detection\.tflite: expected at most 16777216 bytes"):
        bundle.read_models(wheel)


@pytest.mark.parametrize("damage", ["no zip", "truncated", "changed"])
def test_a_damaged_wheel_is_refused(make_wheel, damage):
    wheel = make_wheel()
    content = bytearray(wheel.read_bytes())
    if damage == "changed":
        content[content.index(b"pose_detection.tflite") + 30] ^= 0xFF
    wheel.write_bytes({"no zip": b"<html>", "truncated": content[:-40], "changed": content}[damage])
    with pytest.raises(UserError, match=f"^{WHEEL_NAME}: damaged: "):
        bundle.read_models(wheel)


def test_another_wheel_than_the_pinned_one_is_refused(make_wheel, pip_offline):
    sha256 = hashlib.sha256(make_wheel().read_bytes()).hexdigest()
    with pytest.raises(UserError) as error:
        bundle.download_wheel(pip_offline)
    expected = f"{WHEEL_NAME}: expected the file with sha256 {bundle.WHEEL_SHA256}, pip downloaded one with {sha256}"
    assert str(error.value) == expected


def test_the_reason_of_a_failed_download_is_in_the_error(pip_offline):
    with pytest.raises(UserError) as error:
        bundle.download_wheel(pip_offline)
    reason = "pip could not download mediapipe==0.10.21, which holds the pose model: No matching"
    assert str(error.value).startswith(reason)
    assert "\n" not in str(error.value)


def test_a_bundle_is_an_uncompressed_zip_and_always_the_same(tmp_path):
    for name in ("one.task", "two.task"):
        bundle.write_bundle(tmp_path / name, CONTENTS)
    with zipfile.ZipFile(tmp_path / "one.task") as written:
        assert {info.filename: written.read(info) for info in written.infolist()} == CONTENTS
        assert {info.compress_type for info in written.infolist()} == {zipfile.ZIP_STORED}
    assert (tmp_path / "one.task").read_bytes() == (tmp_path / "two.task").read_bytes()


def test_a_failed_write_leaves_the_old_bundle(tmp_path):
    path = tmp_path / "pose.task"
    bundle.write_bundle(path, CONTENTS)
    with pytest.raises(TypeError):
        bundle.write_bundle(path, {"pose_detector.tflite": b"new", "pose_landmarks_detector.tflite": None})
    assert bundle.is_bundle(path)
    assert [file.name for file in tmp_path.iterdir()] == ["pose.task"]


def test_a_whole_bundle_is_told_from_a_damaged_one(tmp_path):
    path = tmp_path / "pose.task"
    assert not bundle.is_bundle(path)
    bundle.write_bundle(path, CONTENTS)
    assert bundle.is_bundle(path)
    whole = path.read_bytes()
    place = whole.index(b"the landmarks")
    for damaged in (whole[:-10], whole[:place] + b"X" + whole[place + 1 :], b""):
        path.write_bytes(damaged)
        assert not bundle.is_bundle(path)
    bundle.write_bundle(path, {"pose_detector.tflite": b""})
    assert not bundle.is_bundle(path)


@pytest.fixture
def with_mediapipe(make_wheel, monkeypatch):
    """MediaPipe that seems to be installed, and the wheel of `make_wheel` as the pinned one."""
    module = types.ModuleType("mediapipe")
    module.__spec__ = ModuleSpec("mediapipe", None)
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    monkeypatch.setattr(bundle, "with_image_normalisation", lambda model, mean, std: b"%d %d " % (mean, std) + model)
    monkeypatch.setattr(bundle, "WHEEL_SHA256", hashlib.sha256(make_wheel().read_bytes()).hexdigest())


def test_the_bundle_is_installed_once_and_again_if_damaged(pip_offline, with_mediapipe, cache):
    path = cache / "pose" / "pose_landmarker.task"
    assert bundle.bundle_path() == path
    result = bundle.install_bundle()
    assert result == f"{path}: installed the pose model (0.0 MB, of mediapipe==0.10.21, Apache-2.0)"
    with zipfile.ZipFile(path) as installed:
        assert installed.read("pose_detector.tflite") == b"127 127 " + CONTENTS["pose_detector.tflite"]
        assert installed.read("pose_landmarks_detector.tflite").startswith(b"0 255 the landmarks")
    written = path.read_bytes()
    time_ns = path.stat().st_mtime_ns
    assert bundle.install_bundle() == f"{path}: the pose model is already installed"
    assert path.stat().st_mtime_ns == time_ns
    path.write_bytes(written[:-1])
    assert "installed the pose model" in bundle.install_bundle()
    assert path.read_bytes() == written
    assert {file.name for file in path.parent.iterdir()} == {".lock", "pose_landmarker.task"}


def test_without_the_extra_nothing_is_downloaded(monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'musclemap_jax\[pose\]'$"):
        bundle.install_bundle()
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_one_error(with_mediapipe, tmp_path, cache):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cache/musclemap_jax/pose: the pose model cannot be written: Not a directory"):
        bundle.install_bundle()
