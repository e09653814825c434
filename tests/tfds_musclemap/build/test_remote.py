"""Raw data sets and data sets on an object store: paths that no function of the operating system understands."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest
from etils import epath
from etils.epath import gpath

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.errors import UserError
from tests.object_store import BUCKET, Store
from tfds_musclemap.prepare import prepare


@pytest.fixture
def store(folder, tmp_path, monkeypatch):
    """An object store that holds the raw data set as gs://bucket/raw."""
    store = Store(tmp_path / "bucket")
    monkeypatch.setattr(gpath._GPath, "_backend", property(lambda path: store))
    monkeypatch.chdir(tmp_path)
    shutil.move(folder, store.folder / "raw")
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_times(sources: bytes) -> list[list[str]]:
    """Rows of ``sources.csv``; a store tells whole seconds."""
    return [[clip_id, *file, digest] for clip_id, *file, _, digest in csv.reader(sources.decode().splitlines())]


BEAM = ("runner=DirectRunner", "direct_running_mode=in_memory")


@pytest.mark.parametrize("beam_pipeline_options", [(), pytest.param(BEAM, marks=pytest.mark.tfds)])
@pytest.mark.filterwarnings("default")
def test_a_build_from_store_to_store_gives_the_local_bytes(store, tmp_path, beam_pipeline_options):
    if beam_pipeline_options:
        pytest.importorskip("apache_beam")
    raw_dataset.video_path(store.folder / "raw", "train_1").write_bytes(b"")
    arguments = {"max_rejected_fraction": 0.2, "num_workers": 1}
    expected = prepare("multimodal", tmp_path / "data", store.folder / "raw", **arguments)
    builder = prepare(
        "multimodal", f"{BUCKET}/data", f"{BUCKET}/raw", beam_pipeline_options=beam_pipeline_options, **arguments
    )
    assert os.fspath(builder.data_path) == f"{BUCKET}/data/musclemap/multimodal/4.0.0"
    found = contents(store.folder / "data" / "musclemap" / "multimodal" / "4.0.0")
    local = contents(Path(expected.data_path))
    assert without_times(found.pop("sources.csv")) == without_times(local.pop("sources.csv"))
    assert found == local
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bucket", "data"]


def test_a_change_in_a_store_is_named(store):
    raw = store.folder / "raw"
    raw_dataset.video_path(raw, "train_0").rename(raw / "clips" / "train_0.MOV")
    prepare("multimodal", f"{BUCKET}/data", f"{BUCKET}/raw", num_workers=1)
    prepare("multimodal", f"{BUCKET}/data", f"{BUCKET}/raw")
    for path in raw.rglob("*.*"):
        os.utime(path, (0, 0))  # the content decides
    prepare("multimodal", f"{BUCKET}/data", f"{BUCKET}/raw")
    (raw / "skeletons" / "train_1.json").write_text("[]")
    with pytest.raises(UserError, match=r"^gs://bucket/data/.*: 1 file changed \(skeletons/train_1.json\): build it"):
        prepare("multimodal", f"{BUCKET}/data", f"{BUCKET}/raw")


def test_invalid_annotations_in_a_store_are_reported(store):
    (store.folder / "raw" / "annotations.csv").write_text("clip_id\n")
    with pytest.raises(UserError, match=r"annotations\.csv, line 1: expected the columns"):
        prepare("multimodal", f"{BUCKET}/data", f"{BUCKET}/raw")
    assert not epath.Path(f"{BUCKET}/data").exists()
