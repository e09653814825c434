"""Renders a synthetic raw data set into the folder that the TFDS builder reads."""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import tqdm

from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.synthetic.activities.table import select
from musclemap_jax.synthetic.drawing import ClipRenderer, joint_places
from musclemap_jax.synthetic.scene import generator, sample_scene
from musclemap_jax.synthetic.skeleton_noise import corrupt, sample_faults
from musclemap_jax.synthetic.spec import SyntheticSpec

SPEC_FILE = "synthetic.json"
_CRF = (19, 31)
_BYSTANDER_FOUND = 0.8


def render(
    out: str | Path,
    spec: SyntheticSpec,
    num_workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Writes clips, skeletons and, last, the annotations; a folder without annotations is an unfinished one.

    The result depends on the spec alone, not on the number of processes. A finished raw data set of the same spec is
    left as it is.

    Args:
      out: folder to write; made if absent.
      spec: what to render.
      num_workers: processes; by default one for each core, 1 renders in this process. Others are spawned, so a script
        that calls this needs the usual ``if __name__ == "__main__":``.
      overwrite: whether to remove what an earlier run left in the folder.
      progress: whether to show a progress bar.

    Raises:
      UserError: the folder holds something else.
    """
    out = Path(out)
    clips = spec.clips()
    if _prepare_folder(out, spec, overwrite):
        return
    for folder in (raw_dataset.CLIPS, raw_dataset.SKELETONS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    jobs = [(clip.clip_id, activity.name, length) for clip, activity, length in clips]
    work = functools.partial(_write_clip, str(out), spec.seed, spec.size, spec.fps)
    num_workers = min(num_workers or os.cpu_count() or 1, len(jobs))
    bar = functools.partial(tqdm.tqdm, total=len(jobs), unit="clip", desc="rendering", disable=not progress)
    if num_workers == 1:
        for _ in bar(map(work, jobs)):
            pass
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(num_workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            chunk = max(1, min(8, len(jobs) // (4 * num_workers)))
            for _ in bar(pool.map(work, jobs, chunksize=chunk)):
                pass
    (out / SPEC_FILE).write_text(spec.to_json())
    raw_dataset.write_annotations(out, [clip for clip, _, _ in clips])


def render_clip(activity_name: str, seed: int, clip_id: str, num_frames: int, size: int, fps: float):
    """One clip in memory.

    Returns:
      frames uint8 (T, size, size, 3) RGB, and the skeleton float64 (T, P, 17, 3): x, y in pixels and score as a pose
      estimator would give them, absent joints all zero.
    """
    (activity,) = select((activity_name,))
    scene = sample_scene(activity, seed, clip_id, num_frames, size, fps)
    renderer = ClipRenderer(scene, size, generator(seed, clip_id, "drawing"))
    frames = np.stack(list(renderer.frames()))
    rng = generator(seed, clip_id, "skeleton")
    persons = [corrupt(joint_places(scene, scene.body), renderer.seen[:, 0], sample_faults(rng), rng)]
    if scene.bystander is not None and rng.random() < _BYSTANDER_FOUND:
        places = joint_places(scene, scene.bystander)
        persons.append(corrupt(places, renderer.seen[:, 1], sample_faults(rng), rng))
    return frames, np.stack(persons, axis=1)


def _write_clip(out: str, seed: int, size: int, fps: float, job: tuple[str, str, int]) -> None:
    clip_id, activity_name, num_frames = job
    frames, skeleton = render_clip(activity_name, seed, clip_id, num_frames, size, fps)
    crf = int(generator(seed, clip_id, "compression").integers(_CRF[0], _CRF[1] + 1))
    video.encode_video(raw_dataset.video_path(out, clip_id), frames, fps, crf=crf)
    write_alphapose(raw_dataset.skeleton_path(out, clip_id), skeleton)


def _prepare_folder(out: Path, spec: SyntheticSpec, overwrite: bool) -> bool:
    """Whether the folder already holds this very raw data set; otherwise it is empty afterwards."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder, got a file: give another --out")
    names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if not names:
        return False
    ours = {raw_dataset.ANNOTATIONS, SPEC_FILE, raw_dataset.CLIPS, raw_dataset.SKELETONS}
    finished = raw_dataset.ANNOTATIONS in names and SPEC_FILE in names
    if finished and (out / SPEC_FILE).read_text() == spec.to_json():
        return True
    if not overwrite:
        what = "another raw data set" if finished else f"{len(names)} entries, {names[0]!r} first"
        raise UserError(f"{out}: expected an empty folder, got {what}: give another --out, or --overwrite")
    strangers = sorted(set(names) - ours)
    if strangers:
        raise UserError(
            f"{out}: {strangers[0]!r} is no part of a raw data set and is not overwritten: give another --out"
        )
    (out / raw_dataset.ANNOTATIONS).unlink(missing_ok=True)
    for name in names:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return False
