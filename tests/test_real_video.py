"""A real human video through the whole way: raw folder, builder, pipeline, training.

The clips are pieces of tests/data/real; the activities and their muscles are made up by us.
"""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.video import encode_video, read_video
from tests.no_augmentation import NO_AUGMENTATION

REAL = Path(__file__).parent / "data" / "real"
PIECE_FRAMES = 10
ACTIVITIES = {"balance on one leg": (16, 17, 14, 18), "lateral lunge": (13, 15, 17, 11)}
NUM_STEPS = 60


@pytest.fixture(scope="module")
def real_raw_dataset(tmp_path_factory):
    """The two views cut into pieces: the first half is one activity, the second the other."""
    root = tmp_path_factory.mktemp("real")
    for folder in ("clips", "skeletons"):
        (root / folder).mkdir()
    clips = []
    for view in ("cam01", "cam02"):
        video = read_video(REAL / f"pose2sim_{view}.mp4", short_side=128)
        frames = np.stack(list(video.frames))
        scale = frames.shape[2] / 1080
        detections = json.loads((REAL / f"pose2sim_{view}.json").read_text())
        for start in range(0, len(frames), PIECE_FRAMES):
            activity = list(ACTIVITIES)[start >= len(frames) // 2]
            split = "val_known" if start // PIECE_FRAMES in (2, 7) else "train"
            clip = raw_dataset.Clip(f"{view}_{start:03d}", split, activity, ACTIVITIES[activity])
            encode_video(raw_dataset.video_path(root, clip.clip_id), frames[start : start + PIECE_FRAMES], video.fps)
            piece = [
                moved(detection, start, scale)
                for detection in detections
                if start <= frame_number(detection) < start + PIECE_FRAMES
            ]
            raw_dataset.skeleton_path(root, clip.clip_id).write_text(json.dumps(piece))
            clips.append(clip)
    raw_dataset.write_annotations(root, clips)
    return root


def frame_number(detection):
    return int(Path(detection["image_id"]).stem)


def moved(detection, start, scale):
    """The detection in a piece that begins at frame `start`, in pixels of the smaller video."""
    joints = np.reshape(detection["keypoints"], (-1, 3)) * [scale, scale, 1]
    return detection | {
        "image_id": f"{frame_number(detection) - start:06d}.jpg",
        "keypoints": joints.ravel().tolist(),
        "box": [value * scale for value in detection["box"]],
    }


def test_the_loss_falls_by_four_fifths_in_sixty_steps(run_main, real_raw_dataset, tmp_path):
    augmentation = {field.name: getattr(NO_AUGMENTATION, field.name) for field in dataclasses.fields(NO_AUGMENTATION)}
    process = run_main(
        "--config=configs/transm3e.py:smoke",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.data_dir={tmp_path / 'data'}",
        f"--config.data.raw_dir={real_raw_dataset}",
        "--config.data.builder=multimodal",
        "--config.input.frame_stride=2",
        "--config.optimizer.learning_rate=0.005",
        "--config.model.backbones.mvit.embed_dim=32",
        "--config.model.backbones.hdgcn.widths=(16,32)",
        "--config.model.head_dropout_rate=0.0",
        "--config.model.backbones.mvit.drop_path_rate=0.0",
        f"--config.train.num_steps={NUM_STEPS}",
        "--config.eval.splits=('val_known',)",
        *itertools.starmap("--config.input.augmentation.{}={}".format, augmentation.items()),
    )
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    lines = (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()
    losses = [row["train/loss"] for row in map(json.loads, lines) if "train/loss" in row]
    assert len(losses) == NUM_STEPS
    assert np.mean(losses[-5:]) <= 0.2 * losses[0]
