"""Pickled skeleton annotations of mmaction2 and PYSKL, read without running code.

Source: the two projects' descriptions of the format: a dict ``{"split": ..., "annotations": [annotation, ...]}``, a
list of annotations, or one of them. An annotation is a dict with ``frame_dir`` (the video), ``keypoint`` (P, T, V, 2),
``keypoint_score`` (P, T, V), and ``img_shape`` (height, width), the size of the frames that places refer to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_jax.data.skeletons.alphapose import ClipPoses
from musclemap_jax.errors import UserError
from musclemap_jax.storage.pickled_arrays import FLOATS, INTEGERS, PickledArray, array_functions
from musclemap_jax.storage.regular_file import check_regular_file
from musclemap_jax.storage.restricted_pickle import read_pickle

MAX_FILE_BYTES = 4 << 30
MAX_STEPS = 20_000_000
"""Largest number of opcodes: an annotation takes about 100."""

ALLOWED = "save dicts and lists with text, numbers and numpy's arrays of numbers"
FUNCTIONS = array_functions((*INTEGERS, *FLOATS), 4, ALLOWED)


def read_annotations(path: Path) -> Iterator[tuple[str, ClipPoses]]:
    """Yields the video's name, without its suffix, and the poses of each annotation.

    Raises UserError, naming the file, if it cannot be read or contains something else.
    """
    content = _read(path)
    if isinstance(content, dict):
        content = content.get("annotations", [content])
    if not isinstance(content, list):
        raise UserError(f"{path}: expected annotations as mmaction2 and PYSKL write them, got {type(content).__name__}")
    for number, annotation in enumerate(content):
        try:
            yield _name(annotation), _poses(annotation)
        except ValueError as error:
            raise UserError(f"{path}: annotation {number}: {error}") from error


def _read(path: Path) -> Any:
    try:
        check_regular_file(path)
        with path.open("rb") as file:
            num_bytes = os.fstat(file.fileno()).st_size
            if num_bytes > MAX_FILE_BYTES:
                raise UserError(f"{path}: expected at most {MAX_FILE_BYTES >> 30} GiB, got {num_bytes >> 30}: split it")
            data = file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return read_pickle(data, FUNCTIONS, max_steps=MAX_STEPS, allowed=ALLOWED)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _name(annotation: Any) -> str:
    name = annotation.get("frame_dir") if isinstance(annotation, dict) else None
    if not isinstance(name, str):
        raise ValueError("expected a dict with the name of the video in 'frame_dir'")
    return name.removesuffix(".mp4")


def _poses(annotation: dict[str, Any]) -> ClipPoses:
    """Poses of one annotation; a joint with score 0 is absent."""
    keypoint, keypoint_score = annotation.get("keypoint"), annotation.get("keypoint_score")
    if not isinstance(keypoint, PickledArray) or not isinstance(keypoint_score, PickledArray):
        fields = ", ".join(map(str, annotation))
        raise ValueError(f"expected the arrays 'keypoint' and 'keypoint_score', got the fields {fields}")
    places, scores = keypoint.values.astype(np.float32), keypoint_score.values.astype(np.float32)
    if places.ndim != 4 or places.shape[3] != 2 or places.shape[:3] != scores.shape:
        raise ValueError(
            f"expected 2D skeletons, keypoint (P, T, V, 2) and keypoint_score (P, T, V), got {places.shape} and "
            f"{scores.shape}"
        )
    joints = np.concatenate([places, scores[..., None]], axis=-1)
    entries = [
        {"image_id": frame, "keypoints": joints[person, frame], "idx": person}
        for person, frame in np.argwhere((scores > 0).any(axis=-1)).tolist()
    ]
    return ClipPoses(entries, _image_size(annotation.get("img_shape")))


def _image_size(shape: Any) -> tuple[int, int] | None:
    shape = shape.values.tolist() if isinstance(shape, PickledArray) else shape
    if shape is None:
        return None
    if not isinstance(shape, tuple | list) or len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(f"expected img_shape (height, width), got {str(shape)[:50]}")
    return shape[0], shape[1]
