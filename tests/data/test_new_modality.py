"""A modality is one object: nothing else asks for a modality by its name, and a new one needs nothing but the table."""

import ast
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data import modalities
from musclemap_jax.data.augmentation import NO_AUGMENTATION
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.modalities import MODALITIES
from musclemap_jax.data.modalities.fields import Array
from musclemap_jax.data.modalities.modality import BatchModality, ClipWriter
from musclemap_jax.data.pipeline import eval_batches, train_iterator
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.video import encode_video
from tfds_musclemap.prepare import load_source, prepare

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(
    path
    for path in [
        *ROOT.glob("musclemap_jax/data/*.py"),
        *ROOT.glob("tfds_musclemap/*.py"),
        *ROOT.glob("tfds_musclemap/build/*.py"),
        *ROOT.glob("tfds_musclemap/musclemap/*.py"),
    ]
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_condition_asks_for_a_modality_by_name(path):
    tree = ast.parse(path.read_text())
    conditions = [node for node in ast.walk(tree) if isinstance(node, ast.Compare | ast.Match)]
    named = [
        f"line {constant.lineno}: {constant.value}"
        for condition in conditions
        for constant in ast.walk(condition)
        if isinstance(constant, ast.Constant) and constant.value in MODALITIES
    ]
    assert named == []


class Brightness(BatchModality):
    """Mean of each frame; in a batch, that of the sampled frames."""

    name = "brightness"
    frames_field = "frames"

    def raw_files(self, clip):
        return (clip.root / "factors" / f"{clip.clip_id}.txt",)

    def fields(self, settings):
        return {"brightness": Array((None,), "float32")}

    def writer(self, clip, files, settings):
        return _BrightnessWriter(float(files[0].read_text()))

    def arrays(self, spec, num_rows, num_padding, num_views):
        return {"brightness": np.zeros((num_rows, num_views, spec.num_frames), np.float32)}

    def write(self, batch, row, record, spec, draw):
        batch["brightness"][row] = record["brightness"][draw.indices].reshape(-1, spec.num_frames)


class _BrightnessWriter(ClipWriter):
    def __init__(self, factor):
        self.factor = factor
        self.values = []

    def add(self, frame):
        self.values.append(self.factor * frame.grey.mean())

    def fields(self, size):
        return {"brightness": np.array(self.values, np.float32)}


def test_a_new_modality_needs_one_object_in_the_table(tmp_path, monkeypatch):
    modality = Brightness()
    for table in (modalities.MODALITIES, modalities.BATCH_MODALITIES):
        monkeypatch.setitem(table, modality.name, modality)
    monkeypatch.setitem(modalities.ALL_FIELDS, "brightness", Array((None,), "float32"))
    root = tmp_path / "raw"
    raw_dataset.write_annotations(root, [raw_dataset.Clip("a", "train", "squat", (13,))])
    for folder in ("clips", "factors"):
        (root / folder).mkdir()
    frames = np.repeat(np.arange(0, 200, 20, dtype=np.uint8), 32 * 32 * 3).reshape(10, 32, 32, 3)
    encode_video(raw_dataset.video_path(root, "a"), frames, fps=10, crf=4)
    (root / "factors" / "a.txt").write_text("0.5")

    builder = prepare("rgb", tmp_path / "data", root, num_workers=1, modalities=("video", "brightness"))
    source = load_source(builder, "train")
    np.testing.assert_allclose(source[0]["brightness"], np.arange(0, 100, 10), atol=1)
    names = ("video", "brightness")
    spec = InputSpec(num_frames=4, frame_stride=1, crop_size=8, modalities=names, augmentation=NO_AUGMENTATION)
    batches = train_iterator(source, spec, 1, 0, num_threads=0)
    for batch in (next(batches), *eval_batches(source, spec, 1, num_threads=0)):
        # Both modalities were given the same frames.
        np.testing.assert_allclose(batch["brightness"], batch["video"].mean(axis=(-3, -2, -1)) / 2, atol=2)
    batches.close()
