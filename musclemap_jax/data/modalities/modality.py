"""What a modality is: from the files of a raw data set to records, and from records to a batch.

A modality is one object in the table `MODALITIES`. Building prepared data asks it for its raw files and has it make its
fields of a record; the input pipeline asks it for its arrays of a batch and has it write a clip into them. What the
modalities of a clip share is made once and handed to each: when building, the decoded frames (`Frame`); in a batch, the
random draw of time and geometry (`ClipDraw`).

Light on imports (no TFDS, no JAX), since the worker processes of a build import it.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.affine import Map, in_frame
from musclemap_jax.data.augmentation import Box
from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.images import JPEG_QUALITY, decode_jpeg, encode_jpeg
from musclemap_jax.data.modalities.fields import ClipRecord, Field
from musclemap_jax.data.rand_augment import Operation, affine_map
from musclemap_jax.data.raw.flow import BOUND_PX
from musclemap_jax.data.raw.jpeg_planes import JpegPlanes
from musclemap_jax.data.raw.manifest import Manifest
from musclemap_jax.data.raw.video import SHORT_SIDE_PX


class ClipError(ValueError):
    """A clip that cannot be stored; the message is one line that names the file."""


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """How clips are stored.

    Attributes:
      modalities: What is stored of a clip, names of `MODALITIES`.
      skeleton_layout: Joint order of the raw data set's skeleton files, a name of ``skeleton_layouts.LAYOUTS``.
      require_skeleton: Whether a clip without a person is rejected where skeletons are stored; otherwise it gets one
        person, who is absent throughout.
      short_side: Pixels of the stored frames' short side; smaller videos keep their size.
      jpeg_quality: 1 to 100.
      max_persons: Persons kept per clip, the most prominent ones (score times box area over the clip).
      flow_method: How flow is estimated where the raw data set has none, one of ``flow.METHODS``.
      flow_bound: Largest motion that 8-bit flow can hold, in pixels per frame; also that of the raw data set's own flow
        files.
    """

    modalities: tuple[str, ...] = ("video", "skeleton")
    skeleton_layout: str = "coco17"
    require_skeleton: bool = True
    short_side: int = SHORT_SIDE_PX
    jpeg_quality: int = JPEG_QUALITY
    max_persons: int = 10
    flow_method: str = "dis"
    flow_bound: float = BOUND_PX


@dataclasses.dataclass(frozen=True)
class RawClip:
    """A clip of the raw data set whose folder is ``root``."""

    root: Path
    clip_id: str

    def name(self, path: Path) -> str:
        """A file's path in the raw data set, as errors give it."""
        return path.relative_to(self.root).as_posix()


@dataclasses.dataclass(frozen=True)
class ClipSize:
    """Length of a clip and its (height, width) in pixels.

    Attributes:
      num_frames: Number of stored frames.
      stored: Size of the stored frames.
      source: Size of the video as a player shows it.
      shown: For a video of variable frame rate, which is resampled by time: for each stored frame, the number of the
        video's frame that it shows, ascending; None where stored frame k is the video's frame k.
    """

    num_frames: int
    stored: tuple[int, int]
    source: tuple[int, int]
    shown: tuple[int, ...] | None = None

    @property
    def num_source_frames(self) -> int:
        """Number of the video's own frames, which raw files besides the video count."""
        return self.num_frames if self.shown is None else self.shown[-1] + 1


@dataclasses.dataclass(eq=False)
class Frame:
    """A decoded frame, planes or uint8 (H, W, 3) RGB, and what several modalities need of it, each made once."""

    pixels: np.ndarray | JpegPlanes
    jpeg_quality: int

    @functools.cached_property
    def jpeg(self) -> bytes:
        """The frame as it is stored."""
        return encode_jpeg(self.pixels, self.jpeg_quality)

    @functools.cached_property
    def decoded(self) -> np.ndarray:
        """uint8 (H, W, 3) RGB as decoded from the stored JPEG."""
        return decode_jpeg(self.jpeg)

    @functools.cached_property
    def grey(self) -> np.ndarray:
        """uint8 (H, W)."""
        return self.pixels.y if isinstance(self.pixels, JpegPlanes) else cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY)


class ClipWriter(abc.ABC):
    """Makes a modality's fields of one clip's record.

    Attributes:
      num_bytes: Size of the images made so far.
    """

    num_bytes: int = 0

    def add(self, frame: Frame) -> None:  # noqa: B027 (not every modality is made of the frames)
        """Takes the clip's next frame."""

    @abc.abstractmethod
    def fields(self, size: ClipSize) -> ClipRecord:
        """The fields, once all frames have been added. Raises ClipError, naming the file, for an invalid raw file."""


class Modality(abc.ABC):
    """A modality that can be stored.

    Attributes:
      name: Its key in `MODALITIES`, in a builder config and in a batch.
      bytes_per_pixel: Upper estimate of what is stored per pixel of a frame.
    """

    name: str
    bytes_per_pixel: float = 0.0

    def raw_files(self, clip: RawClip) -> tuple[Path, ...]:
        """Its own files of a clip, whether or not they exist; the clip's video is not one of them."""
        return ()

    def find_files(self, clip: RawClip, settings: ClipSettings) -> tuple[Path, ...]:
        """Those of its files that exist. Raises ClipError, naming the file, if one that has to exist does not."""
        return tuple(path for path in self.raw_files(clip) if file_exists(path))

    def check_settings(self, settings: ClipSettings) -> None:  # noqa: B027 (most need nothing)
        """Raises UserError for settings that this machine cannot carry out."""

    def check_manifest(self, manifest: Manifest, path: Path, settings: ClipSettings) -> None:  # noqa: B027
        """Raises UserError, naming the manifest's path, if the raw data set contradicts the settings."""

    @abc.abstractmethod
    def fields(self, settings: ClipSettings) -> dict[str, Field]:
        """{name: kind} of its fields of a record."""

    @abc.abstractmethod
    def writer(self, clip: RawClip, files: tuple[Path, ...], settings: ClipSettings) -> ClipWriter:
        """Makes the writer of these fields for one clip; `files` are those that `find_files` found."""


@dataclasses.dataclass(frozen=True)
class ClipDraw:
    """Time and geometry of a clip's views, drawn once for all modalities.

    Attributes:
      indices: (S * T,) frames of the views, one view after the other, the same ones for each crop in turn; None where
        no modality is made of frames.
      boxes: The crops in pixels of the stored frames, one in training; none where `indices` is None.
      flip: Whether the clip is mirrored.
      operations: RandAugment's operations on the cropped images, before the flip.
      rng: The clip's generator, for what a modality draws for itself; None in evaluation, where nothing is random.
    """

    indices: np.ndarray | None = None
    boxes: tuple[Box, ...] = ()
    flip: bool = False
    operations: tuple[Operation, ...] = ()
    rng: np.random.Generator | None = None

    def affine_maps(self, size: int) -> tuple[Map, Map] | None:
        """What the operations do to geometry: the maps on the crop of `size` pixels and on the stored frame.

        None if they leave it as it is.
        """
        crop_map = affine_map(self.operations, size)
        return None if crop_map is None else (crop_map, in_frame(crop_map, self.boxes[0], size))


class BatchModality(Modality):
    """A modality that models can take.

    Attributes:
      frames_field: Field with one JPEG per frame that the modality is made of; None where it is not made of frames.
    """

    frames_field: str | None = None

    @abc.abstractmethod
    def arrays(self, spec: InputSpec, num_rows: int, num_padding: int, num_views: int) -> dict[str, np.ndarray]:
        """{key: array} of its place in a batch, see `examples.empty_batch`; the last `num_padding` rows are padding."""

    @abc.abstractmethod
    def write(self, batch: Batch, row: int, record: ClipRecord, spec: InputSpec, draw: ClipDraw) -> None:
        """Writes a clip into a row of its arrays, augmented where the draw has a generator.

        Raises FrameError if an image cannot be decoded, UserError if the record lacks a field.
        """


def file_exists(path: Path) -> bool:
    """Whether there is a file, or a link wherever it leads."""
    return path.is_symlink() or path.exists()


def one_row_of_frames(array: np.ndarray, row: int) -> np.ndarray:
    """(S * T, H, W, C) view of a row of (B, S, T, H, W, C)."""
    return array[row].reshape(-1, *array.shape[3:], copy=False)
