"""Measures explanations on rendered clips, where it is known which limb works and which joints move.

    python -m tools.explain_study --run=runs/demo --clips=120 --out=explain_study

For each clip, with a subject, a room and a camera of its own:

- heat maps: the fraction of the mass that falls on the limb of the region (arms for the biceps, legs for the calves,
  the trunk for the abdominis), beside the fraction of the picture that the limb takes, which is what a map that knows
  nothing gets; the same among the pixels of the person alone; and the mass that maps of the regions of other limbs put
  there, which tells a map of the region from a map of the person;
- joints: the probability that a joint that moves is more important than one that does not (0.5 by chance), and whether
  the limb of the region has more than its part of the importance;
- counterfactuals: the fall of the region's probability without its own limb and without another one.

Regions are those that are active by the activity's label. DIR gets `study.json` and, for the first clips, pages with
the heat maps and the truth. Intervals are 95 % bootstrap intervals over clips.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tqdm

from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.explain.explanation import Explanation
from musclemap_jax.explain.limbs import limb_of
from musclemap_jax.predict.model import Model, load
from musclemap_jax.predict.page import write_page
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.recorder import Recorder
from musclemap_jax.predict.sides import FLOOR, leading, limb_motion
from musclemap_jax.runtime.compilation_cache import use_compilation_cache
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.activities.table import ACTIVITIES
from musclemap_jax.synthetic.generate import render_clip, render_truth
from musclemap_jax.synthetic.person import PARTS
from musclemap_jax.taxonomy import MUSCLE_REGIONS as MUSCLES

FPS, SIZE_PX = 15.0, 128
SEED = 770_077
"""Not the seed of any configuration's data: every subject and camera is new to the model."""

GROUPS: dict[str, tuple[str, ...]] = {
    "arms": ("shoulder", "biceps", "triceps", "forearms", "wrists"),
    "legs": ("hamstring", "quadriceps", "calves", "inner thigh", "outer thigh", "gluteus", "feet ankles"),
    "trunk": (
        "chest", "upper back", "latissimus", "obliques", "upper abdominis", "lower abdominis", "lower back",
    ),
    "head": ("neck and head",),
}  # fmt: skip
"""Regions by the part of the body that they lie in."""

OTHERS = {"arms": ("hamstring", "quadriceps", "calves"), "legs": ("shoulder", "biceps", "triceps")}
"""Regions of another limb, whose maps are compared with those of a group."""

JOINTS = get_layout("coco17").joints
_BODY = [v for v, name in enumerate(JOINTS) if limb_of(name) != "head"]
NUM_DRAWS = 2000

Add = Callable[[str, str, float, float], None]
"""Adds a row: measure, group, value, chance."""


class Truth(NamedTuple):
    """What is true of a clip.

    Attributes:
      parts: (T, size, size) uint8, as `render_truth` gives them.
      joints: (T, 17, 2) joints in pixels.
      regions: Names of the active regions.
    """

    parts: np.ndarray
    joints: np.ndarray
    regions: tuple[str, ...]


def group_of(region: str) -> str:
    """The part of the body that a region lies in."""
    return next(group for group, regions in GROUPS.items() if region in regions)


def working_parts(truth: Truth, group: str) -> tuple[str, ...]:
    """Parts of the body that work for the regions of a group: one arm or leg if it moved clearly more, else both."""
    if group not in ("arms", "legs"):
        return (group,)
    skeleton = np.concatenate([truth.joints, np.ones((*truth.joints.shape[:2], 1))], axis=-1)[:, None]
    leads = leading(limb_motion(skeleton, JOINTS, FPS))[("arms", "legs").index(group)]
    limb = group.removesuffix("s")
    sides = [side for side, leading_side in zip(("left", "right"), leads, strict=True) if leading_side]
    return tuple(f"{side} {limb}" for side in sides or ("left", "right"))


def coverage(truth: Truth, parts: Sequence[str], explanation: Explanation, branch: str) -> np.ndarray:
    """(S, T2, H2, W2) fraction of each patch's pixels that show some parts of the body, in the first window."""
    chosen = np.isin(truth.parts, [PARTS.index(part) + 1 for part in parts]).astype(np.float32)
    _, num_views, num_frames, height, width = explanation.heat[branch].shape
    views = []
    for view in range(num_views):
        top, left, bottom, right = np.rint(explanation.boxes[view] * chosen.shape[1]).astype(int)
        frames = chosen[explanation.frames[0, view], top:bottom, left:right]
        patches = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]
        views.append([part.mean(axis=0) for part in np.array_split(np.stack(patches), num_frames)])
    return np.array(views)


def mass(heat: np.ndarray, covered: np.ndarray) -> float:
    """Fraction of a map's mass on what is covered; NaN for an empty map."""
    return ratio(float((heat * covered).sum()), float(heat.sum()))


def ratio(part: float, whole: float) -> float:
    """NaN for a whole of 0."""
    return float(part / whole) if whole > 0 else np.nan


def mean(values: Sequence[float]) -> float:
    """Of the values that are not NaN; NaN if all are."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else np.nan


def joint_motion(joints: np.ndarray) -> np.ndarray:
    """(17,) range of each joint relative to the middle of the hips, 10th to 90th percentile, in trunk lengths."""
    hips = joints[:, [JOINTS.index(f"{side}_hip") for side in ("left", "right")]].mean(axis=1)
    shoulders = joints[:, [JOINTS.index(f"{side}_shoulder") for side in ("left", "right")]].mean(axis=1)
    trunk = np.percentile(np.hypot(*(shoulders - hips).T), 90)
    low, high = np.percentile((joints - hips[:, None]) / max(float(trunk), 1.0), (10, 90), axis=0)
    return np.hypot(*(high - low).T)


def ranking(importance: np.ndarray, moved: np.ndarray) -> float:
    """Probability that a joint that moved is more important than one that did not; NaN if there are not both."""
    first, second = importance[moved], importance[~moved]
    if not len(first) or not len(second):
        return np.nan
    difference = first[:, None] - second[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def measure(prediction: Prediction, truth: Truth) -> list[dict[str, Any]]:
    """One row for each measurement of a clip: {"measure", "group", "value", "chance"}."""
    explain = functools.cache(prediction.explain)
    rows: list[dict[str, Any]] = []

    def add(measure: str, group: str, value: float, chance: float) -> None:
        rows.append({"measure": measure, "group": group, "value": float(value), "chance": float(chance)})

    for group in GROUPS:
        explanations = [explain(region) for region in truth.regions if group_of(region) == group]
        if not explanations:
            continue
        parts = working_parts(truth, group)
        others = [explain(region) for region in OTHERS.get(group, ())]
        for branch in explanations[0].heat:
            _measure_maps(add, truth, parts, group, branch, explanations, others)
        if explanations[0].joint_names and not np.isnan(explanations[0].joint_occlusion[0]).any():
            _measure_joints(add, truth, parts, group, explanations)
    return rows


def _measure_maps(
    add: Add,
    truth: Truth,
    parts: Sequence[str],
    group: str,
    branch: str,
    explanations: Sequence[Explanation],
    others: Sequence[Explanation],
) -> None:
    limb, person = (coverage(truth, each, explanations[0], branch) for each in (parts, PARTS))
    for kind, field in {"Grad-CAM": "heat", "token attention": "attention"}.items():
        maps, maps_of_others = (
            [getattr(each, field)[branch][0] for each in part if branch in getattr(each, field)]
            for part in (explanations, others)
        )
        if not maps or maps[0].shape != limb.shape:  # no tokens, or strided keys
            continue
        on_limb = mean([mass(each, limb) for each in maps])
        on_person = mean([mass(each, person) for each in maps])
        name = f"{branch}: {kind}"
        add(f"{name}: mass on the limb", group, on_limb, limb.mean())
        add(f"{name}: mass on the person", group, on_person, person.mean())
        add(f"{name}: of that on the limb", group, ratio(on_limb, on_person), ratio(limb.mean(), person.mean()))
        if maps_of_others:
            elsewhere = mean([mass(each, limb) for each in maps_of_others])
            add(f"{name}: mass on the limb, and others' maps", group, on_limb, elsewhere)


def _measure_joints(
    add: Add, truth: Truth, parts: Sequence[str], group: str, explanations: Sequence[Explanation]
) -> None:
    names = explanations[0].joint_names
    index = [names.index(JOINTS[v]) for v in _BODY]
    moved = joint_motion(truth.joints)[_BODY] >= FLOOR
    of_limb = np.array([limb_of(JOINTS[v]) in parts for v in _BODY])
    for kind, field in {"gradient": "joint_gradient", "occlusion": "joint_occlusion"}.items():
        importance = [getattr(each, field)[0][index] for each in explanations]
        add(f"joints by {kind}: moved before unmoved", group, mean([ranking(i, moved) for i in importance]), 0.5)
        if of_limb.any():
            positive = [np.maximum(i, 0) for i in importance]
            fraction = mean([ratio(i[of_limb].sum(), i.sum()) for i in positive])
            add(f"joints by {kind}: importance of the limb", group, fraction, float(of_limb.mean()))
    if group in ("arms", "legs"):
        falls = {
            limb: np.mean([_fall(each, limb) for each in explanations])
            for limb in PARTS
            if limb.endswith(("arm", "leg"))
        }
        own = max(fall for limb, fall in falls.items() if limb in parts)
        other = max(fall for limb, fall in falls.items() if not limb.endswith(group.removesuffix("s")))
        add("probability falls without the limb, and without another", group, own, other)


def _fall(explanation: Explanation, limb: str) -> float:
    return float(explanation.probabilities[0] - explanation.counterfactuals[f"without the {limb}"][0])


def clips(count: int, num_frames: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, Truth]]:
    """Yields (name, frames, skeleton, truth) of clips, the activities in turn in an order drawn at random."""
    order = np.random.default_rng(SEED).permutation(len(ACTIVITIES))
    for number in range(count):
        activity = ACTIVITIES[order[number % len(ACTIVITIES)]]
        arguments = (activity.name, SEED, f"{activity.slug}_{number}", num_frames, SIZE_PX, FPS)
        frames, skeleton = render_clip(*arguments)
        parts, joints = render_truth(*arguments)
        regions = tuple(MUSCLES[k] for k in activity.muscles)
        yield f"{activity.slug}_{number}", frames, skeleton, Truth(parts, joints, regions)


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over clips of each measure and group, and of each clip's mean over groups, with intervals."""
    keys = dict.fromkeys((row["measure"], group) for row in rows for group in (row["group"], "all"))
    table = []
    for measure, group in sorted(keys, key=lambda key: (key[0], key[1] == "all", key[1])):
        of_clips: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            defined = not np.isnan((row["value"], row["chance"])).any()
            if row["measure"] == measure and group in (row["group"], "all") and defined:
                of_clips.setdefault(row["clip"], []).append((row["value"], row["chance"]))
        if not of_clips:
            continue
        values = np.array([np.mean(pairs, axis=0) for pairs in of_clips.values()])
        difference = values[:, 0] - values[:, 1]
        draws = np.random.default_rng(0).integers(0, len(values), (NUM_DRAWS, len(values)))
        low, high = np.percentile(difference[draws].mean(axis=1), (2.5, 97.5))
        table.append(
            {
                "measure": measure,
                "group": group,
                "clips": len(values),
                "value": float(values[:, 0].mean()),
                "chance": float(values[:, 1].mean()),
                "difference": [float(low), float(high)],
                "above": float((difference > 0).mean()),
            }
        )
    return table


def show(table: Sequence[dict[str, Any]]) -> str:
    """The summary as text."""
    lines = [f"{'measure':62} {'group':6} {'clips':>5} {'value':>7} {'chance':>7}  {'95 % of difference':>18}  above"]
    for row in table:
        low, high = row["difference"]
        lines.append(
            f"{row['measure']:62} {row['group']:6} {row['clips']:5d} {row['value']:7.3f} {row['chance']:7.3f}  "
            f"{low:+8.3f} {high:+8.3f}   {100 * row['above']:4.0f} %"
        )
    return "\n".join(lines)


def study(model: Model, count: int, out: Path | None = None, num_pages: int = 0) -> list[dict[str, Any]]:
    """Measures a model's explanations on rendered clips; returns the summary.

    Args:
      model: The model.
      count: Number of clips.
      out: Folder for `study.json` and pages.
      num_pages: Number of clips that get a page.

    Raises:
      UserError: The model's regions are not those of the rendered clips.
    """
    if model.regions != MUSCLES:
        raise UserError(
            f"--run: expected a model of MuscleMap's {len(MUSCLES)} regions, got {', '.join(model.regions)}"
        )
    num_frames, rows = round(model.window_s * FPS), []
    for number, (name, frames, skeleton, truth) in enumerate(
        tqdm.tqdm(clips(count, num_frames), total=count, unit="clip", disable=None)
    ):
        recorder = Recorder()
        prediction = model.predict(frames, skeleton=skeleton, fps=FPS, on_frame=recorder)
        rows += [{"clip": name, **row} for row in measure(prediction, truth)]
        if out is not None and number < num_pages:
            explained = prediction.with_explanations(truth.regions)
            write_page(out / f"{name}.html", explained, recorder, model=model.name, truth=truth.regions)
    table = summary(rows)
    if out is not None:
        (out / "study.json").write_text(json.dumps({"summary": table, "rows": rows}, indent=1) + "\n")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the study; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.explain_study", description=__doc__.splitlines()[0])
    parser.add_argument("--run", metavar="RUN", help="workdir or weights of a model (default: the one that is shipped)")
    parser.add_argument("--clips", type=int, default=120, metavar="N", help="number of clips (120)")
    parser.add_argument("--out", metavar="DIR", help="folder for study.json and pages (default: the table alone)")
    parser.add_argument("--pages", type=int, default=6, metavar="N", help="clips that get a page in DIR (6)")
    args = parser.parse_args(arguments)

    def body() -> None:
        if args.clips < 1 or args.pages < 0:
            raise UserError(f"--clips, --pages: expected at least 1 and 0, got {args.clips} and {args.pages}")
        out = Path(args.out) if args.out else None
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        use_compilation_cache()
        print(show(study(load(args.run), args.clips, out, args.pages)))

    return exit_on_user_error(body)


if __name__ == "__main__":
    sys.exit(main())
