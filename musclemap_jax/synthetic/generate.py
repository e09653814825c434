"""Renders a synthetic raw data set, the folder that the TFDS builder reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import tqdm

from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.runtime.worker_pool import WorkerCrash, WorkerPool, num_cpus
from musclemap_jax.synthetic.activities.table import select
from musclemap_jax.synthetic.drawing import ClipRenderer, joint_positions
from musclemap_jax.synthetic.scene import clip_rng, sample_scene
from musclemap_jax.synthetic.skeleton_noise import corrupt, sample_corruption
from musclemap_jax.synthetic.spec import SyntheticSpec

SPEC_FILE = "synthetic.json"
_CRF = (19, 31)
"""Range of the video encoder's constant rate factor."""

_BYSTANDER_FOUND = 0.8
"""Probability that the pose estimator finds the bystander."""


def render(
    out: str | Path,
    spec: SyntheticSpec,
    num_workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Writes clips, skeletons and, last, the annotations, without which the folder is unfinished.

    The result depends on the spec alone, not on the number of processes. A finished raw data set of the same spec is
    left unchanged.

    Args:
      out: The folder to write; created if absent.
      num_workers: Number of processes; by default one per core, and 1 renders in this process.
      overwrite: Whether to delete an earlier raw data set in the folder.
      progress: Whether to show a progress bar.

    Raises:
      UserError: The folder contains something else, or cannot be written.
    """
    out = Path(out)
    if _prepare_folder(out, spec, overwrite):
        return
    try:
        _write(out, spec, num_workers, progress)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written: {error.strerror or error}: free some disk, or choose another folder"
        ) from error


def _write(out: Path, spec: SyntheticSpec, num_workers: int | None, progress: bool) -> None:
    clips = spec.clips()
    out.mkdir(parents=True, exist_ok=True)
    (out / SPEC_FILE).write_text(spec.to_json())  # first: it marks a folder that may be deleted and rendered again
    for folder in (raw_dataset.CLIPS, raw_dataset.SKELETONS):
        (out / folder).mkdir(exist_ok=True)
    calls = [(str(out), spec, activity.name, clip.clip_id, num_frames) for clip, activity, num_frames in clips]
    with WorkerPool(min(num_workers or num_cpus(), len(calls))) as pool:
        results = pool.map(_write_clip, calls)
        bar = tqdm.tqdm(results, total=len(calls), unit="clip", desc="rendering", disable=not progress)
        for (clip, _, _), result in zip(clips, bar, strict=True):
            if isinstance(result, WorkerCrash):
                raise UserError(f"{clip.clip_id}: not rendered, {result}: use fewer processes if memory ran out")
    raw_dataset.write_annotations(out, [clip for clip, _, _ in clips])


def render_clip(
    activity_name: str, seed: int, clip_id: str, num_frames: int, size: int, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one clip in memory.

    Returns:
      Frames, uint8 (T, size, size, 3) RGB; and the skeleton, float64 (T, P, 17, 3): x, y in pixels and score as a pose
      estimator would find them, absent joints all zero.
    """
    (activity,) = select((activity_name,))
    scene = sample_scene(activity, seed, clip_id, num_frames, size, fps)
    renderer = ClipRenderer(scene, size, clip_rng(seed, clip_id, "drawing"))
    frames = np.stack(list(renderer.frames()))
    rng = clip_rng(seed, clip_id, "skeleton")
    persons = [corrupt(joint_positions(scene, scene.body), renderer.visible[:, 0], sample_corruption(rng), rng)]
    if scene.bystander is not None and rng.random() < _BYSTANDER_FOUND:
        positions = joint_positions(scene, scene.bystander)
        persons.append(corrupt(positions, renderer.visible[:, 1], sample_corruption(rng), rng))
    return frames, np.stack(persons, axis=1)


def render_truth(
    activity_name: str, seed: int, clip_id: str, num_frames: int, size: int, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """What is true of the clip that `render_clip` draws.

    Returns:
      uint8 (T, size, size): the part of the subject that each pixel shows, an index into `person.PARTS` plus 1, or 0;
      and the subject's joints, float64 (T, 17, 2) in pixels, without any error.
    """
    (activity,) = select((activity_name,))
    scene = sample_scene(activity, seed, clip_id, num_frames, size, fps)
    renderer = ClipRenderer(scene, size, clip_rng(seed, clip_id, "drawing"))
    return np.stack(list(renderer.part_masks())), joint_positions(scene, scene.body)


def _write_clip(out: str, spec: SyntheticSpec, activity_name: str, clip_id: str, num_frames: int) -> None:
    frames, skeleton = render_clip(activity_name, spec.seed, clip_id, num_frames, spec.size, spec.fps)
    crf = int(clip_rng(spec.seed, clip_id, "compression").integers(_CRF[0], _CRF[1] + 1))
    video.encode_video(raw_dataset.video_path(out, clip_id), frames, spec.fps, crf=crf)
    write_alphapose(raw_dataset.skeleton_path(out, clip_id), skeleton)


def _prepare_folder(out: Path, spec: SyntheticSpec, overwrite: bool) -> bool:
    """Returns whether the folder already contains this raw data set; if not, leaves it empty."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder, got a file: choose another --out")
    names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if not names:
        return False
    ours = {raw_dataset.ANNOTATIONS, SPEC_FILE, raw_dataset.CLIPS, raw_dataset.SKELETONS}
    finished = raw_dataset.ANNOTATIONS in names and SPEC_FILE in names
    if finished and (out / SPEC_FILE).read_text() == spec.to_json():
        return True
    if not overwrite:
        found = "another raw data set" if finished else f"{len(names)} entries such as {names[0]!r}"
        raise UserError(f"{out}: expected an empty folder, got {found}: choose another --out, or pass --overwrite")
    if foreign := sorted(set(names) - ours):
        raise UserError(
            f"{out}: will not delete {foreign[0]!r}, which is not part of a raw data set: choose another --out"
        )
    if SPEC_FILE not in names:
        raise UserError(f"{out}: will not delete what was not rendered ({SPEC_FILE} is absent): choose another --out")
    (out / raw_dataset.ANNOTATIONS).unlink(missing_ok=True)  # first: without it the folder is unfinished
    for path in sorted(out.iterdir()):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return False
