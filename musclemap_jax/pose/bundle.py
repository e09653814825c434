"""The model bundle of MediaPipe's pose landmarker, built once from MediaPipe's wheel and kept in the cache folder.

A bundle is an uncompressed zip file of two TFLite models: the person detector and the landmark model. Releases of
MediaPipe that run in this environment contain no models; the wheel of release 0.10.21 (Apache-2.0) is the last that
contains them, without the metadata that later releases ask for. Their normalisation is that of the graphs beside them
in that wheel: the detector's pixels are in [-1, 1], the landmark model's in [0, 1].
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from musclemap_jax.errors import UserError
from musclemap_jax.pose.tflite_metadata import with_image_normalisation
from musclemap_jax.runtime.cache_folder import cache_folder
from musclemap_jax.storage.files import UNFINISHED, one_process_at_a_time

INSTALL_COMMAND = "python -m musclemap_jax.predict --install_pose"
EXTRA_COMMAND = "pip install 'musclemap_jax[pose]'"

WHEEL = "mediapipe==0.10.21"
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
_WHEEL_TAGS = ("--platform=manylinux_2_28_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311")
"""One wheel for every platform: the models are the same in all of them."""

MAX_MODEL_BYTES = 16 << 20


class _Model(NamedTuple):
    """Place of a model in the wheel, and how its input is normalised: (pixel - mean) / std."""

    member: str
    mean: float
    std: float


MODELS = {
    "pose_detector.tflite": _Model("mediapipe/modules/pose_detection/pose_detection.tflite", 127.5, 127.5),
    "pose_landmarks_detector.tflite": _Model("mediapipe/modules/pose_landmark/pose_landmark_full.tflite", 0.0, 255.0),
}
"""Models of a bundle by the names that the pose landmarker looks for."""


def bundle_path() -> Path:
    """Where the installed bundle lies, whether or not it does."""
    return cache_folder() / "pose" / "pose_landmarker.task"


def install_bundle() -> str:
    """Downloads MediaPipe's wheel with pip (36 MB) and builds the bundle; one that is there and whole is kept.

    Returns:
      The result in one line.

    Raises:
      UserError: The extra ``pose`` is not installed, the download failed, the wheel is not the expected one, or the
        bundle cannot be written.
    """
    if importlib.util.find_spec("mediapipe") is None:
        raise UserError(f"the pose model needs MediaPipe, which is not installed: {EXTRA_COMMAND}")
    path = bundle_path()
    try:
        with one_process_at_a_time(path.parent):
            if is_bundle(path):
                return f"{path}: the pose model is already installed"
            with tempfile.TemporaryDirectory(prefix="musclemap_jax_") as folder:
                models = read_models(download_wheel(Path(folder)))
            write_bundle(path, {name: _with_metadata(name, content) for name, content in models.items()})
    except OSError as error:
        raise UserError(f"{error.filename or path}: the pose model cannot be written: {error.strerror}") from error
    return f"{path}: installed the pose model ({path.stat().st_size / 1e6:.1f} MB, of {WHEEL}, Apache-2.0)"


def is_bundle(path: Path) -> bool:
    """Whether a file is a whole bundle with all models."""
    try:
        with zipfile.ZipFile(path) as bundle:
            return set(bundle.namelist()) == MODELS.keys() and bundle.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def download_wheel(folder: Path) -> Path:
    """Downloads the wheel into a folder, as pip is configured, and checks what came.

    Raises:
      UserError: pip failed, or the file is another one than the pinned one.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    options = ["--no-deps", "--only-binary=:all:", *_WHEEL_TAGS, f"--dest={folder}"]
    process = subprocess.run([*command, *options, WHEEL], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if process.returncode != 0:
        lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR: ")), lines[-1] if lines else "")
        raise UserError(f"pip could not download {WHEEL}, which holds the pose model: {reason.removeprefix('ERROR: ')}")
    (wheel,) = folder.glob("*.whl")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if sha256 != WHEEL_SHA256:
        raise UserError(f"{wheel.name}: expected the file with sha256 {WHEEL_SHA256}, pip downloaded one with {sha256}")
    return wheel


def read_models(wheel: Path) -> dict[str, bytes]:
    """The wheel's pose models by their names in the bundle; nothing else of the wheel is read, and nothing unpacked.

    Raises:
      UserError: A model is absent, too large or damaged.
    """
    models = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, model in MODELS.items():
                with archive.open(model.member) as file:
                    content = file.read(MAX_MODEL_BYTES + 1)
                if len(content) > MAX_MODEL_BYTES:
                    raise UserError(f"{wheel.name}: {model.member}: expected at most {MAX_MODEL_BYTES} bytes")
                models[name] = content
    except KeyError as error:
        raise UserError(f"{wheel.name}: expected the pose models: {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise UserError(f"{wheel.name}: damaged: {error}") from error
    return models


def _with_metadata(name: str, content: bytes) -> bytes:
    """A model as the bundle holds it."""
    return with_image_normalisation(content, MODELS[name].mean, MODELS[name].std)


def write_bundle(path: Path, models: Mapping[str, bytes]) -> None:
    """Writes a bundle such that a reader sees a whole one or none.

    Args:
      path: The file to write, in an existing folder.
      models: Content of each TFLite file, with metadata, by its name in the bundle.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as bundle:
            for name, content in models.items():
                bundle.writestr(zipfile.ZipInfo(name), content)  # ZipInfo's date is fixed: same models, same bundle
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
