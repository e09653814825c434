"""What a model says about one video.

Letters of shapes: W windows, K muscle regions, V joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from musclemap_jax.coach.coaching import Alert, Coaching, Hold, Repetition
from musclemap_jax.errors import UserError
from musclemap_jax.explain.explanation import Explanation
from musclemap_jax.explain.region_names import NUM_TOP, TOP, asked_regions, find_region

if TYPE_CHECKING:
    from musclemap_jax.predict.kept_windows import KeptWindow


class Explainer(Protocol):
    """The part of `explaining.Explainer` that a prediction needs."""

    windows: Mapping[int, KeptWindow]

    def explain(self, region: str) -> Explanation: ...


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Active muscle regions of a video, window by window.

    A window that no branch of the model could answer (a model of skeletons, where nobody is seen) has NaN in `logits`
    and `probabilities`, False in `active` and no entry in `modalities`.

    Attributes:
      source: The video's path, or an empty string where arrays were given.
      regions: Names of the K muscle regions.
      duration_s: Length of the video in seconds.
      fps: Frames per second of the video.
      times_s: (W, 2) float64 start and end of each window in seconds; windows may overlap.
      logits: (W, K) float32 scores of the model.
      probabilities: (W, K) float64 in [0, 1], calibrated if the model has a calibration.
      active: (W, K) bool decisions.
      branch_probabilities: {branch: (W, K)} each branch alone, uncalibrated; NaN where it did not speak.
      modalities: The modalities that each window's answer rests on, such as ("video", "skeleton").
      persons: The persons seen in at least a fifth of each window, the most prominent first. Numbers count from 1 in
        the order of the first appearance in the video.
      limb_motion: (W, 2, 2) float32, how far the arms and the legs (`sides.LIMBS`) of the left and of the right side
        moved in each window, in trunk lengths; NaN where they were not seen. It is a measure of movement, not of
        muscles; `sides.leading_side` says which side moved clearly more.
      person: Number of the person whom the prediction is about; None for the most prominent ones of each window.
      decision_rule: One sentence that says how `active` was decided.
      warnings: Sentences on what limits the answer, such as the times without a person.
      coaching: Repetitions and holds of the person, the alerts, and what they compare with.
      explanations: {region: why the model says so}, of the regions that were asked for.
      explainer: Explains further regions; None for a prediction that was read from a file.
    """

    source: str
    regions: tuple[str, ...]
    duration_s: float
    fps: float
    times_s: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    active: np.ndarray
    branch_probabilities: Mapping[str, np.ndarray]
    modalities: tuple[tuple[str, ...], ...]
    persons: tuple[tuple[int, ...], ...]
    limb_motion: np.ndarray
    person: int | None = None
    decision_rule: str = ""
    warnings: tuple[str, ...] = ()
    explanations: Mapping[str, Explanation] = dataclasses.field(default_factory=dict)
    explainer: Explainer | None = dataclasses.field(default=None, repr=False, compare=False)
    coaching: Coaching = dataclasses.field(default_factory=Coaching)

    @property
    def repetitions(self) -> tuple[Repetition, ...]:
        """Repetitions of the exercise, with their muscle regions."""
        return self.coaching.repetitions

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Poses that are kept, such as a plank."""
        return self.coaching.holds

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """What differs from the expected exercise or the reference."""
        return self.coaching.alerts

    @property
    def answered(self) -> np.ndarray:
        """(W,) bool, True where at least one branch spoke."""
        return np.array([bool(spoke) for spoke in self.modalities], bool)

    def mean_probabilities(self) -> np.ndarray:
        """(K,) mean over the answered windows; NaN if there is none."""
        answered = self.probabilities[self.answered]
        return answered.mean(axis=0) if len(answered) else np.full(len(self.regions), np.nan)

    def active_fraction(self) -> np.ndarray:
        """(K,) fraction of the answered windows in which each region is active; NaN if there is none."""
        answered = self.active[self.answered]
        return answered.mean(axis=0) if len(answered) else np.full(len(self.regions), np.nan)

    @property
    def can_be_explained(self) -> bool:
        """Whether a window that was kept has an answer; of a prediction that was read from a file, any window."""
        return bool(self.answered.any()) and (self.explainer is None or bool(self.explainer.windows))

    def explain(self, region: str) -> Explanation:
        """Says why the model says what it says of a region.

        Args:
          region: Name of one of the regions.

        Raises:
          UserError: There is no such region, no window has an answer, or the prediction was read from a file that has
            no explanation of the region.
        """
        name = find_region(region, self.regions)
        if name in self.explanations:
            return self.explanations[name]
        if not self.can_be_explained:
            raise UserError("explain: expected a window with an answer, got none: nothing was seen to explain")
        if self.explainer is None:
            has = ", ".join(self.explanations) or "none"
            raise UserError(
                f"explain: this prediction has explanations of {has} alone, got {name!r}: predict the video again with "
                f"--explain={name!r}"
            )
        return self.explainer.explain(name)

    def with_explanations(self, regions: Sequence[str]) -> Prediction:
        """The prediction with explanations of some regions; as it is if there is nothing to explain.

        Args:
          regions: Names of regions, "top" for the most probable ones.

        Raises:
          UserError: As `explain`.
        """
        if not self.can_be_explained:
            return self
        top = [self.regions[k] for k in np.argsort(-self.mean_probabilities(), kind="stable")[:NUM_TOP]]
        asked = asked_regions(regions, self.regions, "explain")
        names = dict.fromkeys(name for each in asked for name in (top if each == TOP else [each]))
        return dataclasses.replace(self, explanations={name: self.explain(name) for name in names})


class SeenFrame(Protocol):
    """A frame of the video as prediction has read it, for observers such as the page's recorder.

    Attributes:
      number: The frame's number, from 0.
      time_s: Its time in seconds.
      image: uint8 (H, W, 3) RGB at the size at which the model's data is stored (short side 256 pixels at most); made
        when it is first asked for.
      persons: {number of the person: (V, 3) float32 joints x, y in pixels of `image`, score}; absent joints score 0.
      joint_names: Names of the V joints.
    """

    @property
    def number(self) -> int: ...

    @property
    def time_s(self) -> float: ...

    @property
    def image(self) -> np.ndarray: ...

    @property
    def persons(self) -> Mapping[int, np.ndarray]: ...

    @property
    def joint_names(self) -> tuple[str, ...]: ...


class FrameObserver(Protocol):
    """Called with every frame of the video in order, once its persons are known."""

    def __call__(self, frame: SeenFrame) -> None: ...
