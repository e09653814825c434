"""The `tfds build` command, with every config, on synthetic and real clips; what it made is read by tfds.load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.images import decode_grey_jpeg, decode_jpeg, decode_png
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.synthetic.generate import render
from musclemap_jax.synthetic.spec import SyntheticSpec
from tfds_musclemap.build.builder_config import CONFIGS
from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder
from tfds_musclemap.prepare import load_source
from tfds_musclemap.verify.prepared import find_data_sets
from tfds_musclemap.verify.report import verify

pytestmark = [pytest.mark.tfds, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).parents[2]
REAL = ROOT / "tests" / "data" / "real"
SYNTHETIC = SyntheticSpec(
    clips_per_activity={"train": 6, "val_known": 2, "test_known": 3, "val_new": 4, "test_new": 4},
    size=64,
    num_frames=(16, 20),
    activities=("bodyweight squat", "push-up", "jumping jack", "biceps curl", "renegade row", "hanging knee raise"),
)
"""60 clips."""

NAMES = [config.name for config in CONFIGS if not config.synthetic or config.name == "synthetic_smoke"]
"""The others render a thousand clips and more, in the way that `synthetic_smoke` renders a few."""

READ = """
import json, sys
import tensorflow_datasets as tfds
import tfds_musclemap.musclemap.musclemap_dataset_builder

data_dir, *configs = sys.argv[1:]
found = {}
for config in configs:
    loaded = tfds.load(f"musclemap/{config}", data_dir=data_dir, split="test_known")
    for record in tfds.as_numpy(loaded.take(2)):
        means = {name: float(value.mean()) for name, value in record.items() if getattr(value, "ndim", 0)}
        found.setdefault(config, {})[record["clip_id"].decode()] = {"means": means, "shape": {
            name: value.shape for name, value in record.items() if getattr(value, "ndim", 0)}}
    found[config]["num"] = len(loaded)
print(json.dumps(found))
"""


OPTIONS = """
import json, sys
import tensorflow as tf
import tensorflow_datasets as tfds
import tfds_musclemap.musclemap.musclemap_dataset_builder

def load(split="train", **options):
    read_config = tfds.ReadConfig(**options)
    dataset = tfds.load("musclemap/skeleton", data_dir=sys.argv[1], split=split, read_config=read_config)
    return [(record["clip_id"].decode(), record.get("tfds_id", b"").decode()) for record in tfds.as_numpy(dataset)]

def of_worker(number, count):
    context = tf.distribute.InputContext(num_input_pipelines=count, input_pipeline_id=number)
    return load(input_context=context, add_tfds_id=True)

def error(**options):
    try:
        load(**options)
    except Exception as error:
        return str(error)

print(json.dumps({
    "all": load(add_tfds_id=True), "part": load("train[4:6]", add_tfds_id=True), "plain": load(),
    "workers": [of_worker(number, 3) for number in range(3)],
    "too many": error(input_context=tf.distribute.InputContext(num_input_pipelines=99, input_pipeline_id=0)),
    "repeated": error(repeat_filenames=True),
}))
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A raw data set of 60 synthetic clips and the two real ones, whose labels are ours."""
    pytest.importorskip("tensorflow")
    root = tmp_path_factory.mktemp("mixed") / "raw"
    render(root, SYNTHETIC, num_workers=1)
    clips = raw_dataset.read_annotations(root)
    for view in ("cam01", "cam02"):
        clip = raw_dataset.Clip(f"real_{view}", "test_known", "balance on one leg", (8, 13, 14, 16, 17, 18))
        shutil.copy(REAL / f"pose2sim_{view}.mp4", raw_dataset.video_path(root, clip.clip_id))
        shutil.copy(REAL / f"pose2sim_{view}.json", raw_dataset.skeleton_path(root, clip.clip_id))
        clips.append(clip)
    raw_dataset.write_annotations(root, clips)
    return root


def run(*command, status=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    result = subprocess.run(
        [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == status, result.stderr[-3000:]
    return result.stderr if status else result.stdout


@pytest.fixture(scope="module")
def built(mixed, tmp_path_factory):
    """Data folder with what the command made, config by config."""
    data_dir = tmp_path_factory.mktemp("data")
    command = (Path(sys.executable).with_name("tfds"), "build", "tfds_musclemap/musclemap")
    folders = (f"--manual_dir={mixed}", f"--data_dir={data_dir}")
    with ThreadPoolExecutor(2) as pool:  # most of a command's time is the import of TensorFlow
        list(pool.map(lambda config: run(*command, f"--config={config}", *folders), NAMES))
    return data_dir


def test_every_config_is_built_whole_and_sound(built):
    rendered = {config.name: len(config.synthetic.clips()) for config in CONFIGS if config.synthetic}
    for folder in find_data_sets(built):
        report = verify(folder)
        assert report["faults"] == [], folder
        assert report["num_rejected"] == 0
        assert report["num_clips"] == rendered.get(folder.parent.name, 62)
    assert len(find_data_sets(built)) == len(NAMES)


def test_tfds_load_reads_what_random_access_reads(built):
    found = json.loads(run(sys.executable, "-c", READ, built, *NAMES).splitlines()[-1])
    decoders = {
        "frames": decode_jpeg,
        "rgb_diff": decode_png,
        "flow_x": decode_grey_jpeg,
        "flow_y": decode_grey_jpeg,
    }
    for config in NAMES:
        source = load_source(built / "musclemap" / config / str(Builder.VERSION), "test_known")
        assert found[config].pop("num") == len(source)
        for record in source:
            theirs = found[config].pop(record["clip_id"], None)
            if theirs is None:
                continue
            for name, mean in theirs["means"].items():
                ours = np.stack([decoders[name](data) for data in record[name]]) if name in decoders else record[name]
                assert tuple(theirs["shape"][name])[: ours.ndim] == ours.shape
                # TensorFlow takes the JPEG library's fast ways, which are a step lower or less.
                tolerance = {"frames": 1.5, "flow_x": 0.5, "flow_y": 0.5}.get(name, 1e-3)
                assert mean == pytest.approx(ours.mean(dtype=np.float64), abs=tolerance), (config, name)
        assert not found[config]


def test_options_of_reading_are_honoured_or_refused(built):
    found = json.loads(run(sys.executable, "-c", OPTIONS, built).splitlines()[-1])
    source = load_source(built / "musclemap" / "skeleton" / str(Builder.VERSION), "train")
    clip_ids = [record["clip_id"] for record in source]
    ids = [f"musclemap-train.array_record-00000-of-00001__{place}" for place in range(len(clip_ids))]
    assert found["all"] == [list(pair) for pair in zip(clip_ids, ids, strict=True)]
    assert found["part"] == found["all"][4:6]
    assert found["plain"] == [[clip_id, ""] for clip_id in clip_ids]
    assert found["workers"] == [found["all"][number::3] for number in range(3)]
    assert f"input_context: expected at most {len(ids)} workers, one for each clip, got 99" in found["too many"]
    assert "ReadConfig.repeat_filenames: ArrayRecord data is read record by record" in found["repeated"]


def test_options_of_building_are_honoured_or_refused(mixed, tmp_path):
    tfds_command = Path(sys.executable).with_name("tfds")
    command = (tfds_command, "build", "tfds_musclemap/musclemap", "--config=skeleton", f"--data_dir={tmp_path}")
    run(*command, f"--manual_dir={mixed}", "--max_examples_per_split=2")
    folder = tmp_path / "musclemap" / "skeleton" / str(Builder.VERSION)
    assert verify(folder)["num_clips"] == 10
    error = run(*command, f"--manual_dir={mixed}", status=1)
    assert "UserError" in error
    assert "out of date: it was made with max_examples_per_split=2, expected None" in error
    run(*command, f"--manual_dir={mixed}", "--overwrite")
    assert verify(folder)["num_clips"] == 62
    assert "num_shards: this builder chooses the shards" in run(*command, "--overwrite", "--num_shards=2", status=1)
