"""From a clip's decoded frames to what is stored of them, frame after frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg

from musclemap_jax.data.raw import flow, video
from musclemap_jax.data.raw.jpeg_planes import JpegPlanes


class FrameEncoder:
    """Encodes the modalities that are made of frames; holds one earlier frame of each.

    Attributes:
      streams: name of a feature -> one image a frame: ``frames`` JPEG; ``rgb_diff`` PNG, |frame t - frame t-1| of the
        frames as they come out of their JPEG, exactly, the first one zero; ``flow_x`` and ``flow_y`` grey JPEG, the
        motion from frame t-1 to t, the first one none.
      num_frames: frames taken so far.
    """

    def __init__(
        self, modalities: Sequence[str], jpeg_quality: int, flow_bound: float, estimate_flow: flow.Estimator | None
    ):
        """
        Args:
          modalities: of which ``rgb`` and ``rgb_diff`` are made here.
          jpeg_quality: 1 to 100.
          flow_bound: pixels a frame; see `flow.encode_flow`.
          estimate_flow: makes ``flow_x`` and ``flow_y``; None where they are not asked for or come from elsewhere.
        """
        self.streams: dict[str, list[bytes]] = {}
        self.num_frames = 0
        self._jpeg_quality = jpeg_quality
        self._flow_bound = flow_bound
        self._estimate_flow = estimate_flow
        self._previous_decoded: np.ndarray | None = None
        self._previous_grey: np.ndarray | None = None
        if "rgb" in modalities:
            self.streams["frames"] = []
        if "rgb_diff" in modalities:
            self.streams["rgb_diff"] = []
        if estimate_flow:
            self.streams |= {"flow_x": [], "flow_y": []}

    def add(self, frame: np.ndarray | JpegPlanes) -> None:
        """Takes the next frame, planes or uint8 (H, W, 3) RGB."""
        self.num_frames += 1
        if "frames" in self.streams or "rgb_diff" in self.streams:
            jpeg = video.encode_jpeg(frame, self._jpeg_quality)
            if "frames" in self.streams:
                self.streams["frames"].append(jpeg)
            if "rgb_diff" in self.streams:
                self._add_difference(video.decode_jpeg(jpeg))
        if self._estimate_flow:
            self._add_flow(frame.y if isinstance(frame, JpegPlanes) else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))

    def _add_difference(self, decoded: np.ndarray) -> None:
        earlier = decoded if self._previous_decoded is None else self._previous_decoded
        self.streams["rgb_diff"].append(encode_png(cv2.absdiff(decoded, earlier)))
        self._previous_decoded = decoded

    def _add_flow(self, grey: np.ndarray) -> None:
        if self._previous_grey is None:
            values = np.full((*grey.shape, 2), flow.NO_MOTION, np.uint8)
        else:
            values = flow.encode_flow(self._estimate_flow(self._previous_grey, grey), self._flow_bound)
        for axis, name in enumerate(("flow_x", "flow_y")):
            self.streams[name].append(encode_grey_jpeg(values[..., axis], self._jpeg_quality))
        self._previous_grey = grey


def encode_png(image: np.ndarray) -> bytes:
    """PNG bytes of a uint8 (H, W, 3) RGB image; lossless."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def decode_png(data: bytes) -> np.ndarray:
    """uint8 (H, W, 3) RGB of PNG bytes."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def encode_grey_jpeg(image: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of a uint8 (H, W) image."""
    image = np.ascontiguousarray(image)[..., None]
    return simplejpeg.encode_jpeg(image, quality, colorspace="GRAY", colorsubsampling="Gray")


def decode_grey_jpeg(data: bytes) -> np.ndarray:
    """uint8 (H, W) of JPEG bytes."""
    return simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
