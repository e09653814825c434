"""What the commands ask of a model for each video."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclemap_jax.errors import UserError
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.prediction import FrameObserver, Prediction

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model

ALL = "all"
"""Value of `person`: each on their own."""


@dataclasses.dataclass(frozen=True)
class Request:
    """How a video is predicted; the arguments of `Model.predict`, as a command has them.

    Attributes:
      person: Number of a person, or ALL; None for the most prominent ones of each window.
      overlap: Fraction of a window that the next one repeats, in [0, 1).
      pose: "auto", "none", or a `.task` file of MediaPipe's.
      skeleton_layout: Joint order of pose results that come with the video.
    """

    person: int | str | None = None
    overlap: float = 0.0
    pose: str = "auto"
    skeleton_layout: str = "coco17"

    def predict(
        self, model: Model, video: Path, skeleton: Path | None = None, on_frame: FrameObserver | None = None
    ) -> Sequence[Prediction]:
        """Predicts a video.

        Args:
          model: The model.
          video: The video.
          skeleton: Pose results; by default those beside the video, if there are any.
          on_frame: Called with every frame.

        Returns:
          One prediction, or one per person in the order of their numbers.

        Raises:
          UserError: A video or skeleton that cannot be used, or no such person.
        """
        options: dict[str, Any] = {
            "skeleton": skeleton,
            "skeleton_layout": self.skeleton_layout,
            "pose": self.pose,
            "overlap": self.overlap,
            "on_frame": on_frame,
        }
        if not isinstance(self.person, str):
            return (model.predict(video, person=self.person, **options),)
        predictions = model.predict_each_person(video, **options)
        if not predictions:
            raise UserError(f"{shown(video)}: --person=all: nobody is seen: leave it out to rest on the video alone")
        return predictions
