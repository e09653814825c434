"""muscles.json and muscles.csv."""

from __future__ import annotations

import csv
import dataclasses
import json
import os

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from musclemap_jax.errors import UserError
from musclemap_jax.predict.outputs import read_muscles, write_json, write_muscles
from musclemap_jax.predict.prediction import Prediction
from tests.predict.predictions import squat

BITS = 32
LOGITS = strategies.floats(width=BITS, allow_infinity=False)


def assert_equal(found: Prediction, expected: Prediction):
    """Every field is the same, NaN in the same places."""
    for field in dataclasses.fields(Prediction):
        first, second = getattr(found, field.name), getattr(expected, field.name)
        if field.name == "branch_probabilities":
            assert list(first) == list(second)
            first, second = np.array(list(first.values())), np.array(list(second.values()))
        if isinstance(second, np.ndarray):
            assert first.dtype == second.dtype, field.name
            np.testing.assert_array_equal(first, second, err_msg=field.name)
        else:
            assert first == second, field.name


def test_reading_gives_what_was_written(tmp_path):
    predictions = [squat(person=1), squat(person=2, warnings=())]
    write_muscles(tmp_path, predictions)
    found = read_muscles(tmp_path / "muscles.json")
    assert len(found) == 2
    for each, expected in zip(found, predictions, strict=True):
        assert_equal(each, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["muscles.csv", "muscles.json"]


@hypothesis.given(arrays.arrays(np.float32, (4, 4), elements=LOGITS))
def test_every_number_is_read_exactly(tmp_path_factory, logits):
    path = tmp_path_factory.getbasetemp() / "numbers.json"
    write_json(path, [squat(logits=logits)])
    (found,) = read_muscles(path)
    np.testing.assert_array_equal(found.logits, logits)


def test_the_file_is_strict_json_with_null_for_what_has_no_answer(tmp_path):
    write_muscles(tmp_path, [squat()])

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((tmp_path / "muscles.json").read_text(), parse_constant=refuse)
    assert content["version"] == 1
    assert content["source"] == "videos/squat.mp4"
    (prediction,) = content["predictions"]
    assert prediction["person"] is None
    assert prediction["mean_probabilities"] == pytest.approx([0.1, 0.3111, 0.9, 0.4], abs=1e-4)
    assert prediction["active_fraction"] == pytest.approx([0, 0, 1, 1 / 3])
    assert prediction["windows"][0]["active"] == [False, False, True, True]
    assert prediction["windows"][2]["probabilities"] == [None] * 4
    assert prediction["windows"][2]["modalities"] == []
    assert prediction["windows"][1]["limb_motion"] == {"arms": pytest.approx([0.2, 0.3]), "legs": [None, None]}
    assert [window["leading_side"] for window in prediction["windows"]] == [
        {"arms": "left", "legs": None},
        *[{"arms": None, "legs": None}] * 3,
    ]


def test_the_table_has_a_row_a_window_and_person(tmp_path):
    write_muscles(tmp_path, [squat(person=1), squat(person=2)])
    rows = list(csv.reader((tmp_path / "muscles.csv").read_text().splitlines()))
    header = ["video", "person", "start_s", "end_s", "modalities", "persons", "active"]
    assert rows[0] == [*header, "chest", "biceps", "quadriceps", "gluteus"]
    assert len(rows) == 9
    name = "videos/squat.mp4"
    window = ["0.000", "2.500", "video;skeleton", "1", "quadriceps;gluteus", "0.1", "0.3", "0.9", "0.6"]
    assert rows[1] == [name, "1", *window]
    assert rows[7] == [name, "2", "5.000", "7.500", "", "", "", "", "", "", ""]
    assert rows[8][5:8] == ["2;1", "quadriceps", "0"]
    assert rows[8][8] == "0.333333"


def test_a_name_that_is_not_text_is_escaped(tmp_path):
    write_muscles(tmp_path, [squat(source=os.fsdecode(b"caf\xe9\n.mp4"))])
    assert read_muscles(tmp_path / "muscles.json")[0].source == r"caf\xe9\n.mp4"
    assert (tmp_path / "muscles.csv").read_text().splitlines()[1].startswith(r"caf\xe9\n.mp4,,0.000")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected muscles.json as python -m musclemap_jax.predict writes it"),
        ('{"people": []}', "expected muscles.json as python -m musclemap_jax.predict writes it"),
        ('{"format": "musclemap_jax muscles", "version": 2}', "expected version 1 of the format, got 2"),
        ('{"format": "musclemap_jax muscles"}', "expected version 1 of the format, got None"),
        ('{"format": "musclemap_jax muscles", "version": 1}', "damaged (KeyError: 'predictions'): predict the video"),
        ("{", "cannot be read: Expecting property name"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "muscles.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_muscles(path)
    assert str(error.value).startswith(f"{path}: {message}")
