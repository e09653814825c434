"""The authors' pickled lists: what is read in every protocol, and what is refused without running or allocating."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_jax.errors import UserError
from tfds_musclemap.importing import release_lists
from tfds_musclemap.importing.release_lists import read_labels, read_paths

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
LABELS = [[3, 12], [0], [19, 4, 5]]
EXPECTED = [(3, 12), (0,), (4, 5, 19)]
MEBIBYTE = 1 << 20


def dumped(path, value, protocol=2):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def refused(read, path, *words):
    """Asserts one clear line that names the file, and little memory; returns it."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as error:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * MEBIBYTE
    finally:
        tracemalloc.stop()
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 600
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "make",
    [
        lambda labels: labels,
        lambda labels: tuple(tuple(label) for label in labels),
        lambda labels: [[np.int64(index) for index in label] for label in labels],
        lambda labels: [np.array(label) for label in labels],
        lambda labels: [np.array(label, ">u2") for label in labels],
        lambda labels: [np.asfortranarray(np.array(label, np.int8)) for label in labels],
    ],
)
def test_labels_are_read_in_every_protocol_and_kind(tmp_path, protocol, make):
    assert read_labels(dumped(tmp_path / "labels.pkl", make(LABELS), protocol)) == EXPECTED


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_matrix_of_labels_is_read_by_rows(tmp_path, protocol):
    matrix = np.array([[1, 2, 3], [6, 5, 4]])
    for order in (matrix, np.asfortranarray(matrix)):
        assert read_labels(dumped(tmp_path / "labels.pkl", order, protocol)) == [(1, 2, 3), (4, 5, 6)]


def test_lists_of_numpy_1_and_python_2_are_read(tmp_path):
    """Lists with numpy's names before 2.0, and with text as Python 2 wrote it."""
    path = dumped(tmp_path / "labels.pkl", [np.int32(7), np.array([1, 2])])
    old = pickle.dumps([[np.int32(7)], np.array([1, 2])], 2).replace(b"numpy._core", b"numpy.core")
    path.write_bytes(old)
    assert b"numpy.core" in old
    assert read_labels(path) == [(7,), (1, 2)]
    path.write_bytes(b"(lp0\nS'videos/a.mp4'\np1\naU\x05b.mp4a.")
    assert read_paths(path) == ["videos/a.mp4", "b.mp4"]


@settings(max_examples=30, deadline=None)
@given(
    paths=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=9),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_any_paths_are_read_unchanged(tmp_path_factory, paths, protocol):
    assert read_paths(dumped(tmp_path_factory.mktemp("lists") / "paths.pkl", paths, protocol)) == paths


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_run_and_the_opcode_is_named(tmp_path, protocol):
    data = pickle.dumps(["a.mp4", Harm(str(tmp_path / "harm"))], protocol)
    (tmp_path / "evil.pkl").write_bytes(data)
    opcode = "STACK_GLOBAL" if protocol >= 4 else "GLOBAL"
    refused(read_paths, tmp_path / "evil.pkl", "mkdir", f"(opcode {opcode} at byte ")
    assert not (tmp_path / "harm").exists()
    pickle.loads(data)
    assert (tmp_path / "harm").exists()  # Python's own unpickler runs the very same bytes


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a.mp4": [1]}, "opcode EMPTY_DICT"),
        ([1.5], "opcode BINFLOAT"),
        ([{1, 2}], "opcode"),
        ([[None]], "NoneType (opcode NONE)"),
        ([[True]], "bool (opcode NEWTRUE or NEWFALSE)"),
        ([b"ab"], "bytes (opcode BINBYTES)"),
        ([np.float32(3)], "numpy dtype 'f4' (opcode REDUCE)"),
        ([np.array([1.0])], "numpy dtype 'f8' (opcode REDUCE)"),
        (np.array([[1], [1, 2]], dtype=object), "numpy dtype 'O8'"),
        ([complex(1, 2)], ".complex' (opcode GLOBAL"),
        ([slice(1)], "opcode GLOBAL"),
        ([], "a list of 1 to 200,000 items, got 0"),
        ("train", "expected a pickled list, got 'train'"),
        ([[20]], "item 0: expected a list of muscle indices from 0 to 19, got 20"),
        ([[1], [-1]], "item 1: expected a list of muscle indices from 0 to 19, got -1"),
        ([[1 << 200_000]], "got a huge number among them"),
        ([["3"]], "got '3' among them"),
        ([[1, 1]], "each once, got 1, 1"),
        ([[]], "1 to 20 of them, got 0"),
        ([[1] * 21], "1 to 20 of them, got 21"),
        ([[[1]]], "got a list among them"),
        ([3], "item 0: expected a list of muscle indices from 0 to 19, got 3"),
        ([np.zeros((2, 2), np.int8)], "got an array"),
    ],
)
def test_everything_but_labels_is_refused(tmp_path, value, words):
    protocol = 3 if isinstance(value, list) and value and isinstance(value[0], bytes) else 2
    refused(read_labels, dumped(tmp_path / "labels.pkl", value, protocol), words)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([3], "got 3"),
        ([""], "got empty text"),
        (["x" * 5000], "path of a video"),
        (["\ud800.mp4"], "'\\ud800.mp4'"),
        ([["a"]], "got a list"),
    ],
)
def test_everything_but_paths_is_refused(tmp_path, value, words):
    refused(read_paths, dumped(tmp_path / "paths.pkl", value), "item 0", words)


@pytest.mark.parametrize(
    "opcodes",
    {
        "nothing": b"",
        "no end": b"]",
        "a name alone": b"cnumpy\nndarray\n.",
        "a call of a name that may only stand": b"cnumpy\nndarray\n)R.",
        "state of a name": b"cnumpy\nndarray\n}b.",
        "an object by its class": b"(inumpy\ndtype\n.",
        "a new object": b"cnumpy\nndarray\n)\x81.",
        "a persistent id": b"K\x01Q.",
        "an extension": b"\x82\x01.",
        "a buffer from outside": b"\x97.",
        "a memo of 4 G places": b"]r\xff\xff\xff\xff.",
        "long text": b"\x8d" + struct.pack("<Q", 1 << 62) + b"x.",
        "long bytes": b"\x96" + struct.pack("<Q", 1 << 40) + b"x.",
        "a list in itself": b"]q\x00h\x00a.",
        "an array of 1 T numbers": b"cnumpy._core.numeric\n_frombuffer\n(C\x01xcnumpy\ndtype\nU\x02i1\x88\x88\x87R"
        + b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85U\x01Ct R.",
        "a negative shape": b"cnumpy._core.numeric\n_frombuffer\n(C\x01xcnumpy\ndtype\nU\x02i1\x88\x88\x87R"
        + b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86U\x01CtR.",
        "a dtype that is a list": b"cnumpy\ndtype\n]\x88\x88\x87R.",
        "state of another kind": b"cnumpy\ndtype\nU\x02i8\x88\x88\x87RK\x01b.",
        "an array of an array": b"cnumpy._core.multiarray\n_reconstruct\n)R(K\x01K\x01\x85]\x89]tb.",
    }.items(),
    ids=lambda item: item[0],
)
def test_damaged_and_malicious_lists_are_refused_in_little_memory(tmp_path, opcodes):
    (tmp_path / "list.pkl").write_bytes(b"\x80\x05" + opcodes[1])
    refused(read_labels, tmp_path / "list.pkl")
    refused(read_paths, tmp_path / "list.pkl")


def test_lists_nested_many_times_are_refused_quickly(tmp_path):
    lists = b"]q\x000" + b"".join(b"](" + b"h%c" % level * 40 + b"eq%c0" % (level + 1) for level in range(6))
    (tmp_path / "list.pkl").write_bytes(b"\x80\x02" + lists + b"h\x06.")
    refused(read_labels, tmp_path / "list.pkl", "1 to 20 of them, got 40")


def test_the_sizes_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(release_lists, "MAX_FILE_BYTES", 1000)
    refused(read_paths, dumped(tmp_path / "paths.pkl", ["x" * 1000]), "at most 1,000 bytes")
    monkeypatch.setattr(release_lists, "MAX_STEPS", 50)
    refused(read_paths, dumped(tmp_path / "paths.pkl", ["x"] * 60), "more than 50 opcodes")
    monkeypatch.setattr(release_lists, "MAX_CLIPS", 3)
    refused(read_paths, dumped(tmp_path / "paths.pkl", ["x"] * 4), "1 to 3 items, got 4")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_raise_another_error(tmp_path_factory, data):
    content = bytearray(pickle.dumps([np.array([1, 2]), [np.int64(3)], [4]], data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("lists") / "labels.pkl"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    labels, message = [], str(path)
    try:
        labels = read_labels(path)
    except UserError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert all(0 <= index < 20 for label in labels for index in label)


def test_text_with_an_unknown_escape_is_refused_as_damaged(tmp_path):
    path = tmp_path / "paths.pkl"
    path.write_bytes(b"(lp0\nS'a\\ub'\np1\na.")
    with pytest.raises(UserError, match=r"paths\.pkl.*damaged pickle"):
        read_paths(path)


def test_absent_files_are_reported(tmp_path):
    refused(read_paths, tmp_path / "absent.pkl", "cannot be read")
    os.mkfifo(tmp_path / "pipe.pkl")
    refused(read_paths, tmp_path / "pipe.pkl", "cannot be read: expected a regular file, got a pipe")
