"""Explains a prediction: runs the model again on the windows of the video that were kept.

Letters of shapes: E explained windows, S views, T frames of a view, V joints, N sets of joints, K muscle regions.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import jax
import numpy as np

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.examples import clip_draw
from musclemap_jax.data.frames import frame_size
from musclemap_jax.data.modalities import batch_modalities
from musclemap_jax.data.modalities.fields import ClipRecord
from musclemap_jax.eval.decisions import Decisions
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.explain.counterfactuals import Counterfactuals, speaking_modalities
from musclemap_jax.explain.evidence import RegionEvidence, jitted_counterfactuals, region_evidence
from musclemap_jax.explain.explanation import WITHOUT, Explanation
from musclemap_jax.explain.joints import SKELETON, skeleton_branches
from musclemap_jax.explain.limbs import limb_joints
from musclemap_jax.explain.patches import explained_branches
from musclemap_jax.explain.region_names import find_region
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.predict.answers import Uncalibrated, model_inputs
from musclemap_jax.predict.kept_windows import KeptWindow
from musclemap_jax.skeleton_layouts import get_layout

_MODALITY_NAMES = {"flow": "optical flow"}


class ExplainedModel(Protocol):
    """The part of `model.Model` that explanations need; its docstring describes the attributes."""

    spec: ExperimentSpec
    input: InputSpec
    regions: tuple[str, ...]
    decisions: Decisions | None
    module: TransM3E
    variables: dict[str, Any]

    def apply(self, batch: Mapping[str, jax.Array | np.ndarray]) -> ModelOutput: ...


class View(NamedTuple):
    """What the views of a window show.

    Attributes:
      frames: (S, T) numbers of the frames within the window; (0, 0) where the model reads no frames.
      boxes: (S, 4) top, left, bottom, right of the crops, as fractions of the frame.
    """

    frames: np.ndarray
    boxes: np.ndarray


class Explainer:
    """A model, and the windows of a video that can be explained.

    Attributes:
      windows: {index of the window in the prediction: what the model was shown}, in the order of time.
    """

    def __init__(self, model: ExplainedModel, windows: Mapping[int, KeptWindow]) -> None:
        self._model, self.windows = model, windows
        self._joint_names = get_layout(model.input.layout).joints if skeleton_branches(model.spec.model) else ()
        self._limbs = limb_joints(self._joint_names)

    def explain(self, region: str) -> Explanation:
        """Explains a region in all kept windows.

        Raises:
          UserError: There is no such region.
        """
        model = self._model
        name = find_region(region, model.regions)
        index = model.regions.index(name)
        evidence = [self._evidence(window, index) for window in self.windows.values()]
        views = [views_of(window.record, model.input) for window in self.windows.values()]
        starts = np.array([window.start for window in self.windows.values()])[:, None, None]
        logits = np.concatenate([output.logits for output in self._outputs])
        branches = explained_branches(model.spec.model)
        with_tokens = [branch for branch in branches if evidence[0].patches[branch].attention is not None]
        return Explanation(
            region=name,
            windows=np.array(list(self.windows), np.int64),
            logits=logits[:, index],
            probabilities=self._probabilities(logits)[:, index],
            heat={branch: np.concatenate([each.patches[branch].heat for each in evidence]) for branch in branches},
            attention={
                branch: np.concatenate([cast(np.ndarray, each.patches[branch].attention) for each in evidence])
                for branch in with_tokens
            },
            frames=np.stack([view.frames for view in views]) + starts,
            boxes=views[0].boxes,
            joint_names=self._joint_names,
            joint_gradient=self._where_seen([each.joint_gradients for each in evidence]),
            joint_occlusion=self._where_seen(
                [each.skeleton_falls[: len(self._joint_names), :, index].T for each in self._counterfactuals]
            ),
            counterfactuals=self._probabilities_without(index),
            notes=tuple(_notes(model.spec.model)),
        )

    def _evidence(self, window: KeptWindow, region: int) -> RegionEvidence:
        model = self._model
        return jax.device_get(region_evidence(model.module, model.variables, self._inputs(window), region))

    @functools.cached_property
    def _counterfactuals(self) -> list[Counterfactuals]:
        """Of each window: every joint absent in turn, then every limb; the same for all regions."""
        absent = np.concatenate([np.eye(len(self._joint_names), dtype=bool), *_rows(self._limbs.values())])
        absent = absent if self._joint_names else None
        model = self._model
        return [
            jax.device_get(jitted_counterfactuals(model.module, model.variables, output, self._inputs(window), absent))
            for output, window in zip(self._outputs, self.windows.values(), strict=True)
        ]

    @functools.cached_property
    def _outputs(self) -> list[ModelOutput]:
        """The model's answers for the windows, without the tokens."""
        outputs = (jax.device_get(self._model.apply(self._inputs(window))) for window in self.windows.values())
        return [dataclasses.replace(output, branches={}) for output in outputs]

    def _inputs(self, window: KeptWindow) -> dict[str, np.ndarray]:
        return model_inputs(self._model.input, [window.record], 1)

    @functools.cached_property
    def _seen(self) -> np.ndarray:
        """(E,) bool, True where a skeleton speaks."""
        if not self._joint_names:
            return np.zeros(len(self.windows), bool)
        return np.array([self._inputs(window)["skeleton_valid"].any() for window in self.windows.values()], bool)

    def _where_seen(self, rows: Sequence[Any]) -> np.ndarray:
        """(E, V) float32 of rows (1, V), NaN where nobody was seen."""
        if not self._joint_names:
            return np.zeros((len(rows), 0), np.float32)
        values = np.concatenate(rows)
        return np.where(self._seen[:, None], values, np.float32(np.nan))

    def _probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(..., K) of (..., K) logits, as the prediction has them."""
        decided = self._model.decisions or Uncalibrated(self._model.spec.loss.kind)
        return decided.probabilities(logits)

    def _probabilities_without(self, index: int) -> dict[str, np.ndarray]:
        """{name: (E,)} of one region; NaN where the counterfactual does not exist in a window."""
        found: dict[str, np.ndarray] = {}
        everything = self._counterfactuals
        for modality in speaking_modalities(self._model.spec.model):
            if modality not in everything[0].without_modality:
                continue
            values = self._probabilities(np.concatenate([each.without_modality[modality] for each in everything]))
            # Without a person the skeleton says nothing: to leave it out changes nothing, to be alone leaves nothing.
            exists = np.ones(len(values), bool) if modality == SKELETON else self._seen
            name = WITHOUT.format(_MODALITY_NAMES.get(modality, modality))
            found[name] = np.where(exists, values[:, index], np.nan)
        for number, limb in enumerate(self._limbs, len(self._joint_names)):
            values = self._probabilities(np.concatenate([each.without_joints[number] for each in everything]))
            found[WITHOUT.format(limb)] = np.where(self._seen, values[:, index], np.nan)
        return found


def views_of(record: ClipRecord, spec: InputSpec) -> View:
    """The frames and crops that a model takes of a window."""
    draw = clip_draw(record, spec)
    field = next((modality.frames_field for modality in batch_modalities(spec) if modality.frames_field), None)
    if draw.indices is None or field is None:
        return View(np.zeros((0, 0), np.int64), np.zeros((0, 4)))
    height, width = frame_size(record[field][0], 0)
    boxes = [
        (box.top / height, box.left / width, (box.top + box.height) / height, (box.left + box.width) / width)
        for box in draw.boxes
        for _ in range(spec.num_views)
    ]
    return View(draw.indices.reshape(-1, spec.num_frames), np.array(boxes))


def _rows(masks: Any) -> list[np.ndarray]:
    return [mask[None] for mask in masks]


def _notes(spec: ModelSpec) -> list[str]:
    """Sentences on what a model has no explanation of."""
    notes = []
    modalities, branches = speaking_modalities(spec), explained_branches(spec)
    if len(modalities) == 1:
        notes.append(f"The model answers by the {modalities[0]} alone: no modality can be left out.")
    if not skeleton_branches(spec):
        notes.append("No branch of the model that answers reads the skeleton: joints and limbs have no importance.")
    for name in spec.weights:
        if name not in branches and name not in skeleton_branches(spec):
            notes.append(f"The branch {name} has no patches to explain.")
    if not branches:
        notes.append("No branch of the model that answers reads frames: there is no heat map.")
    elif spec.tokens_per_set != spec.num_regions:
        notes.append("The model has no class token of its own for a region: attention is the mean of all class tokens.")
    return notes
