"""MediaPipe's pose landmarker as a `PoseEstimator`, in this process.

It needs the extra ``pose`` and a model: that of `bundle.install_bundle`, or another ``pose_landmarker_*.task``. Joints
are MediaPipe's 33 landmarks and a joint's score is its visibility. Persons are tracked from frame to frame, so the
images are those of one video. If one person is asked for, MediaPipe also smooths the joints over time. If several are,
it does not, and searches every frame in which it tracks fewer, which takes half as long again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.pose import bundle
from musclemap_jax.pose.estimator import PosedPerson
from musclemap_jax.pose.stderr_filter import without_cpp_log


def open_estimator(pose_model: str | Path | None = None, num_persons: int = 1) -> MediaPipePose:
    """Opens the pose estimator for one video; close it, or use it as a context manager.

    Args:
      pose_model: A ``.task`` file; by default the installed bundle.
      num_persons: The largest number of persons to find in a frame.

    Raises:
      UserError: MediaPipe or the model is not installed (the message has the command for whatever is missing), or the
        file is not such a model.
    """
    return MediaPipePose(installed_model(pose_model), num_persons)


def installed_model(pose_model: str | Path | None = None, needs_mediapipe: bool = True) -> Path:
    """The model file to use, once all that it needs is there.

    Args:
      pose_model: A ``.task`` file; by default the installed bundle.
      needs_mediapipe: Whether MediaPipe must be installed in this environment.

    Raises:
      UserError: Something is missing.
    """
    if pose_model is not None and not Path(pose_model).is_file():
        raise UserError(f"--pose_model={pose_model}: no such file")
    model = bundle.bundle_path() if pose_model is None else Path(pose_model)
    missing = {}
    if needs_mediapipe and importlib.util.find_spec("mediapipe") is None:
        missing["MediaPipe"] = bundle.EXTRA_COMMAND
    if not model.is_file():
        missing["the pose model"] = bundle.INSTALL_COMMAND
    if missing:
        verb = "are" if len(missing) > 1 else "is"
        raise UserError(
            f"pose estimation: {' and '.join(missing)} {verb} not installed: run {' && '.join(missing.values())}"
        )
    return model


class MediaPipePose:
    """Finds persons in the frames of one video with MediaPipe.

    Attributes:
      name: Name and version, for reports.
      layout: ``mediapipe33``.
    """

    layout = "mediapipe33"

    def __init__(self, model: Path, num_persons: int) -> None:
        """Loads the model.

        Args:
          model: A ``.task`` file.
          num_persons: The largest number of persons to find in a frame, at least 1.

        Raises:
          UserError: The file is not such a model, or MediaPipe does not start on this machine.
        """
        if num_persons < 1:
            raise ValueError(f"expected num_persons of at least 1, got {num_persons}")
        mediapipe = _imported_mediapipe()
        self.name = f"MediaPipe Pose {mediapipe.__version__}"
        self._mediapipe = mediapipe
        vision = mediapipe.tasks.vision
        options = vision.PoseLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=num_persons,
        )
        self._landmarker: Any = None
        try:
            with without_cpp_log():
                self._landmarker = vision.PoseLandmarker.create_from_options(options)
        except (ValueError, RuntimeError, OSError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"{model}: MediaPipe cannot load the pose model: {reason[0][:300]}") from error
        self._last_ms = -1
        self._has_found = False

    def detect(self, image: np.ndarray, time_s: float) -> list[PosedPerson]:
        """Persons in a uint8 (H, W, 3) RGB image; `time_s` increases from call to call."""
        wrapped = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        # MediaPipe's times are whole milliseconds that increase.
        self._last_ms = max(round(1000 * time_s), self._last_ms + 1)
        # It writes to its log until it has found its first person.
        with contextlib.nullcontext() if self._has_found else without_cpp_log():
            found = self._landmarker.detect_for_video(wrapped, self._last_ms).pose_landmarks
        self._has_found |= bool(found)
        return [_posed_person(landmarks, *image.shape[:2]) for landmarks in found]

    def close(self) -> None:
        """Frees the model; without it, MediaPipe complains when the interpreter ends."""
        if self._landmarker is not None:
            with without_cpp_log():
                self._landmarker.close()
            self._landmarker = None

    def __enter__(self) -> MediaPipePose:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _imported_mediapipe() -> Any:
    """The module ``mediapipe``.

    Where TensorFlow is installed, MediaPipe would import it for decorators of its documentation alone, which takes
    seconds and hundreds of megabytes.

    Raises:
      UserError: The import fails, for example because a shared library is absent.
    """
    hides_tensorflow = "tensorflow" not in sys.modules
    if hides_tensorflow:
        sys.modules["tensorflow"] = None  # ty: ignore[invalid-assignment]  # Python's mark of an absent module
    try:
        import mediapipe
    except (ImportError, OSError) as error:
        raise UserError(f"pose estimation: MediaPipe cannot be imported: {error}") from error
    finally:
        if hides_tensorflow:
            del sys.modules["tensorflow"]
    return mediapipe


def _posed_person(landmarks: list[Any], height: int, width: int) -> PosedPerson:
    """A person of MediaPipe's landmarks, whose places are fractions of the image's width and height."""
    joints = np.array([(mark.x * width, mark.y * height, mark.visibility or 0.0) for mark in landmarks], np.float32)
    joints[:, 2] = joints[:, 2].clip(0, 1)
    joints[joints[:, 2] == 0] = 0
    return PosedPerson(joints, float(joints[:, 2].mean()))
