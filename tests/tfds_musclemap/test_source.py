"""Random access to the prepared clips."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.errors import UserError
from tfds_musclemap.prepare import load_source
from tfds_musclemap.source import split_annotations, stored_clips


def test_a_pickled_source_reads_the_same(prepared):
    source = load_source(prepared[1], "train")
    source[0]  # its files are open
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source) == 2
    assert copy[1]["frames"] == source[1]["frames"]
    np.testing.assert_array_equal(copy[1]["skeleton"], source[1]["skeleton"])


def test_annotations_are_in_the_order_of_the_records(prepared):
    root, builder = prepared
    clips = {clip.clip_id: clip for clip in raw_dataset.read_annotations(root)}
    for split in builder.info.splits:
        source = load_source(builder, split)
        assert split_annotations(source) == [clips[record["clip_id"]] for record in source]
        assert [stored.num_frames for stored in stored_clips(source)] == [6, 6]
        assert [stored.fps for stored in stored_clips(source)] == [12.0, 12.0]


def test_a_folder_does_as_well_as_a_builder(prepared):
    source = load_source(str(prepared[1].data_path), "test_known")
    assert sorted(record["clip_id"] for record in source) == ["test_known_0", "test_known_1"]
    assert repr(source) == repr(load_source(prepared[1], "test_known"))


def test_places_outside_the_split_and_unknown_splits_are_refused(prepared, tmp_path):
    source = load_source(prepared[1], "train")
    for place in (2, -1):
        with pytest.raises(IndexError):
            source[place]
    with pytest.raises(UserError, match="split test, found clips in train, val_known"):
        load_source(prepared[1], "test")
    with pytest.raises(UserError, match="expected a prepared data set"):
        load_source(tmp_path, "train")


def test_a_file_that_is_missing_or_a_pipe_is_named(prepared, tmp_path):
    folder = Path(shutil.copytree(prepared[1].data_path, tmp_path / "data"))
    (records,) = folder.glob("*train*array_record*")
    records.unlink()
    for make in (lambda path: None, os.mkfifo):
        make(records)
        with pytest.raises(
            UserError, match="expected a file of records, found none: delete its folder and prepare the data again"
        ):
            load_source(folder, "train")
