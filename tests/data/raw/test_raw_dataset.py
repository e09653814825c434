"""The raw data set's annotations: round trip, and every error with file, line and fix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclemap_jax import taxonomy
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import LinkError, Manifest, write_manifest
from musclemap_jax.data.raw.raw_dataset import Clip, read_annotations, write_annotations
from musclemap_jax.errors import UserError

HEADER = "clip_id,split,activity,muscles\n"


def annotations(root, text):
    root.mkdir(parents=True, exist_ok=True)
    (root / raw_dataset.ANNOTATIONS).write_bytes(text.encode() if isinstance(text, str) else text)
    return root


def test_reads_what_was_written_in_order(tmp_path):
    clips = [
        Clip("b", "train", "squat", (13, 17)),
        Clip("sub/a", "test_new", 'jump, "high"', (0, 19)),
        Clip("c", "val_new", 'jump, "high"', (4,)),
    ]
    write_annotations(tmp_path, clips)
    assert read_annotations(tmp_path) == clips


def test_equal_clips_give_equal_bytes(tmp_path):
    for name, muscles in (("a", (3, 12, 5)), ("b", (12, 5, 3))):
        write_annotations(tmp_path / name, [Clip("x", "train", "row", muscles)])
    expected = b"clip_id,split,activity,muscles\nx,train,row,3;5;12\n"
    assert [(tmp_path / name / "annotations.csv").read_bytes() for name in "ab"] == [expected, expected]


@given(
    st.lists(
        st.builds(
            Clip,
            clip_id=st.from_regex(r"[a-zA-Z0-9_é-]{1,12}", fullmatch=True),
            split=st.sampled_from(["train", "val_known", "test_known"]),
            activity=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=9),
            muscles=st.sets(st.integers(0, 19), min_size=1).map(lambda indices: tuple(sorted(indices))),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda clip: clip.clip_id,
    )
)
def test_round_trip_holds_for_any_names(tmp_path_factory, clips):
    root = tmp_path_factory.mktemp("raw")
    write_annotations(root, clips)
    assert read_annotations(root) == clips


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffmuscles,note,clip_id,split,activity\r\n19;0,x, a ,train, squat \r\n\r\n",
        'clip_id;split;activity;muscles\na;train;squat;"0;19"\n',
        '"clip_id"\t"split"\t"activity"\t"muscles"\na\ttrain\tsquat\t0;19\n',
        ",,,,\nClip ID,Split,ACTIVITY,Muscles,\na,train,squat,19;0,\n,,,,\n , ,,,\n",
        "Clip-Id;Split;Activity;Muscles;\n;;;;\na;train;squat;'0;19';\n".replace("'", '"'),
    ],
    ids=["byte-order-mark", "semicolons", "tabs", "spreadsheet", "spreadsheet-with-semicolons"],
)
def test_reads_what_spreadsheets_and_editors_write(tmp_path, text):
    assert read_annotations(annotations(tmp_path, text)) == [Clip("a", "train", "squat", (0, 19))]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEADER + "a,train,squat,3\nb,test,squat,3\n", 3, "column split: expected one of train, val_known"),
        (HEADER + "a,train,squat,20\n", 2, "column muscles: expected indices 0 to 19 joined by ';', got 20"),
        (HEADER + "a,train,squat,-1\n", 2, "got '-1'"),
        (HEADER + "a,train,squat,chest\n", 2, "got 'chest'"),
        (HEADER + "a,train,squat,3;\n", 2, "got ''"),
        (HEADER + "a,train,squat,\n", 2, "at least one, got none"),
        (HEADER + "a,train,squat,3;3\n", 2, "each once"),
        (HEADER + "a,train,,3\n", 2, "column activity"),
        (HEADER + "a,train,squat,3\n\na,val_known,squat,3\n", 4, "got 'a', which is also at line 2"),
        (HEADER + "a,train,squat,3\nb,test_new,squat,3\n", 3, "'squat' in test_new here and in train at line 2"),
        (HEADER + "a,val_new,jump,3\nb,val_known,jump,3\n", 3, "'jump' in val_known here and in val_new at line 2"),
        (
            HEADER + "a,train,Push-up,3\nb,test_new,push up,3\n",
            3,
            "'push up' in test_new here and in train as 'Push-up'",
        ),
        (HEADER + "a,val_new,PUSHUP,3\nb,train,push_up,3\n", 3, "'push_up' in train here and in val_new as 'PUSHUP'"),
        (HEADER + "a.mp4,train,squat,3\n", 2, "without '.mp4', got 'a.mp4': rename the clip"),
        (HEADER + "../x,train,squat,3\n", 2, "column clip_id"),
        (HEADER + "/x,train,squat,3\n", 2, "column clip_id"),
        (HEADER + "a/../../x,train,squat,3\n", 2, "column clip_id"),
        (HEADER + "a\\..\\x,train,squat,3\n", 2, "column clip_id"),
        (HEADER + "./x,train,squat,3\n", 2, "column clip_id"),
        (HEADER + ",train,squat,3\n", 2, "column clip_id"),
        (HEADER + "a\x00,train,squat,3\n", 2, ""),
        (HEADER + "a,train,squat,3,4\n", 2, "expected 4 fields, got 5"),
        (HEADER + "a,train\n", 2, "expected 4 fields, got 2"),
        (
            HEADER.replace(",", ";") + "a;train;squat;3;5\n",
            2,
            "got 5: quote fields that hold semicolons, and join muscle",
        ),
        (HEADER.replace(",", "|") + "a|train|squat|3\n", 1, "add clip_id,split,activity,muscles"),
        (HEADER + 'a,train,"squat"x,3\n', 2, "comma-separated"),
        (HEADER.encode() + b"a,train,squat,3\nb,train,\xff\xfe,3\n", 3, "UTF-8"),
        ("clip_id,split,activity\na,train,squat\n", 1, "add muscles"),
        ("clip_id,split,activity,muscles,split\n", 1, "more than once"),
        ("", 1, "add clip_id,split,activity,muscles"),
    ],
)
def test_an_error_names_file_line_and_fix(tmp_path, text, line, words):
    with pytest.raises(UserError) as error:
        read_annotations(annotations(tmp_path, text))
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'annotations.csv'}, line {line}")
    assert words in message
    assert "\n" not in message


def test_a_header_without_clips_is_refused(tmp_path):
    with pytest.raises(UserError, match="at least one clip"):
        read_annotations(annotations(tmp_path, HEADER))


def test_an_error_names_the_absent_file(tmp_path):
    with pytest.raises(UserError, match=r"annotations\.csv: expected .* found no such file"):
        read_annotations(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "clips",
    [
        [Clip("a", "train", "squat", ())],
        [Clip("a", "train", "squat", (20,))],
        [Clip("a", "train", "squat", (1,)), Clip("a", "train", "squat", (1,))],
        [Clip("a", "train", "squat", (1,)), Clip("b", "val_new", "squat", (1,))],
        [Clip("../a", "train", "squat", (1,))],
    ],
)
def test_nothing_is_written_that_would_be_refused(tmp_path, clips):
    with pytest.raises(UserError):
        write_annotations(tmp_path, clips)
    assert not (tmp_path / "annotations.csv").exists()


def test_files_of_a_clip_lie_inside_the_folder(tmp_path):
    assert raw_dataset.video_path(tmp_path, "s/a") == tmp_path / "clips" / "s" / "a.mp4"
    assert raw_dataset.skeleton_path(tmp_path, "s/a") == tmp_path / "skeletons" / "s" / "a.json"


def test_an_activity_of_punctuation_alone_is_itself(tmp_path):
    clips = [Clip("a", "train", "+", (1,)), Clip("b", "test_new", "-", (1,)), Clip("c", "train", "Push-up", (1,))]
    write_annotations(tmp_path, clips)
    assert read_annotations(tmp_path) == clips


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("a.mp4",), "a.mp4"),
        (("a.mp4", "a.mov", "a.MP4"), "a.mp4"),
        (("a.MP4",), "a.MP4"),
        (("a.mov", "a.json", "ab.mkv"), "a.mov"),
        (("a.MOV", "a.mov"), "a.mov"),
        (("a.txt",), "a.mp4"),
        ((), "a.mp4"),
    ],
)
def test_a_video_may_have_another_suffix(tmp_path, files, expected):
    (tmp_path / "clips").mkdir()
    for name in files:
        (tmp_path / "clips" / name).touch()
    assert raw_dataset.find_video(tmp_path, "a") == tmp_path / "clips" / expected


def test_several_videos_of_one_name_are_named(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("a.MOV", "a.mkv"):
        (tmp_path / "clips" / name).touch()
    with pytest.raises(LinkError, match=r"^no such file, but a\.MOV and a\.mkv: keep one of them$"):
        raw_dataset.find_video(tmp_path, "a")


def test_both_new_splits_may_share_activities(tmp_path):
    clips = [Clip(split, split, "jump" if split in taxonomy.NEW_SPLITS else "squat", (1,)) for split in taxonomy.SPLITS]
    write_annotations(tmp_path, clips)
    assert read_annotations(tmp_path) == clips


def test_muscles_are_checked_against_the_regions_of_the_manifest(tmp_path):
    write_manifest(tmp_path, Manifest(regions=("arms", "trunk", "legs")))
    clips = [Clip("a", "train", "squat", (2,))]
    write_annotations(tmp_path, clips)
    assert read_annotations(tmp_path) == clips
    with pytest.raises(UserError, match="line 2, column muscles: expected indices 0 to 2 joined by ';', got 3"):
        write_annotations(tmp_path, [Clip("a", "train", "squat", (3,))])


def test_background_clips_are_read_where_the_manifest_allows_them(tmp_path):
    clips = [Clip("a", "train", "standing", ()), Clip("b", "train", "squat", (13, 17))]
    with pytest.raises(UserError, match=r'line 2, .*"allow_background": true in raw_dataset\.json'):
        write_annotations(tmp_path, clips)
    write_manifest(tmp_path, Manifest(allow_background=True))
    write_annotations(tmp_path, clips)
    assert read_annotations(tmp_path) == clips
