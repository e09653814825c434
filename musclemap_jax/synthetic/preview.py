"""A contact sheet of a raw data set: a few frames of one clip per activity, the last one with the skeleton."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import bones, get_layout

_NUM_FRAMES = 5
_COLUMNS = 3
_TITLE_PX = 16
_GAP_PX = 4


def write_contact_sheet(path: str | Path, root: str | Path) -> None:
    """Writes a PNG with the first clip of each activity of the raw data set in ``root``.

    Raises:
      UserError: The sheet cannot be written.
    """
    first: dict[str, raw_dataset.Clip] = {}
    for clip in raw_dataset.read_annotations(root):
        first.setdefault(clip.activity, clip)
    rows = [_strip(root, clip) for clip in first.values()]
    height, width = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    num_rows = -(-len(rows) // _COLUMNS)
    sheet = np.full((num_rows * height, _COLUMNS * (width + _GAP_PX), 3), 255, np.uint8)
    for index, row in enumerate(rows):
        top, left = (index % num_rows) * height, (index // num_rows) * (width + _GAP_PX)
        sheet[top : top + row.shape[0], left : left + row.shape[1]] = row
    _, data = cv2.imencode(".png", sheet[..., ::-1])
    try:
        Path(path).write_bytes(data.tobytes())
    except OSError as error:
        raise UserError(
            f"{path}: the contact sheet cannot be written ({error.strerror}): choose another --preview"
        ) from error


def _strip(root: str | Path, clip: raw_dataset.Clip) -> np.ndarray:
    frames = list(video.read_video(raw_dataset.video_path(root, clip.clip_id)).frames)
    chosen = np.linspace(0, len(frames) - 1, _NUM_FRAMES + 1).round().astype(int)
    skeleton = read_alphapose(raw_dataset.skeleton_path(root, clip.clip_id), "coco17", len(frames))
    pictures = [frames[i] for i in chosen[:-1]] + [_with_skeleton(frames[chosen[-1]], skeleton[chosen[-1]])]
    strip = np.concatenate(pictures, axis=1)
    title = np.full((_TITLE_PX, strip.shape[1], 3), 255, np.uint8)
    text = f"{clip.activity}  ({clip.split})"
    cv2.putText(title, text, (3, _TITLE_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([title, strip])


def _with_skeleton(frame: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """The darkened frame with the bones of persons (P, 17, 3)."""
    picture = np.ascontiguousarray(frame // 2)
    for number, joints in enumerate(persons):
        colour = ((80, 255, 120), (255, 160, 60))[min(number, 1)]
        for a, b in bones(get_layout("coco17").joints):
            start, end = joints[a], joints[b]
            if start[2] > 0 and end[2] > 0:
                ends = [(round(16 * float(joint[0])), round(16 * float(joint[1]))) for joint in (start, end)]
                cv2.line(picture, *ends, colour, 1, cv2.LINE_AA, 4)
    return picture
