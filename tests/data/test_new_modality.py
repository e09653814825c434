"""A modality is one object: nothing else asks for a modality by its name, and a new one needs nothing but the table."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data import modalities
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.modalities import MODALITIES
from musclemap_jax.data.pipeline import eval_batches, train_iterator
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.video import encode_video
from tests.no_augmentation import NO_AUGMENTATION
from tfds_musclemap.build.build_log import read_rejected
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


(EXAMPLE,) = re.findall(
    r"```python\n# musclemap_jax/data/modalities/emg\.py\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL
)


def test_the_documented_modality_needs_one_object_in_the_table(tmp_path, monkeypatch):
    namespace = {}
    exec(EXAMPLE, namespace)
    emg = namespace["Emg"]()
    for table in (modalities.MODALITIES, modalities.BATCH_MODALITIES):
        monkeypatch.setitem(table, emg.name, emg)
    monkeypatch.setitem(modalities.ALL_FIELDS, "emg", emg.fields(None)["emg"])
    root = tmp_path / "raw"
    raw_dataset.write_annotations(root, [raw_dataset.Clip(name, "train", "squat", (13,)) for name in "abc"])
    for folder in ("clips", "emg"):
        (root / folder).mkdir()
    levels = np.arange(0, 200, 20, dtype=np.uint8)
    frames = np.repeat(levels, 32 * 32 * 3).reshape(10, 32, 32, 3)
    for name, num_rows in (("a", 10), ("b", 9), ("c", None)):
        encode_video(raw_dataset.video_path(root, name), frames, fps=10, crf=4)
        if num_rows:
            np.savetxt(root / "emg" / f"{name}.csv", np.tile(levels[:num_rows, None], 8), delimiter=",")

    builder = prepare(
        "rgb", tmp_path / "data", root, num_workers=1, modalities=("video", "emg"), max_rejected_fraction=0.7
    )
    assert {clip_id: reason for clip_id, _, reason in read_rejected(Path(builder.data_path))} == {
        "b": "emg/b.csv: expected 10 rows of 8 values, got (9, 8)",
        "c": "emg/c.csv: no such file",
    }
    source = load_source(builder, "train")
    np.testing.assert_array_equal(source[0]["emg"], np.tile(levels[:, None], 8))
    spec = InputSpec(
        num_frames=4, frame_stride=1, crop_size=8, modalities=("video", "emg"), augmentation=NO_AUGMENTATION
    )
    batches = train_iterator(source, spec, 1, 0, num_threads=0)
    for batch in (next(batches), *eval_batches(source, spec, 1, num_threads=0)):
        # Both modalities were given the same frames.
        np.testing.assert_allclose(batch["emg"][..., 0], batch["video"].mean(axis=(-3, -2, -1)), atol=4)
    batches.close()
