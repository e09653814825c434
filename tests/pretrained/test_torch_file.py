"""Tests of the reader of PyTorch's files: what it reads, and what it refuses, without running or allocating it."""

import argparse
import collections
import contextlib
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained import source
from musclemap_jax.pretrained.source import read_checkpoint
from musclemap_jax.pretrained.torch_file import read_torch_file
from musclemap_jax.storage import restricted_pickle
from tests.pretrained import torch_writer
from tests.pretrained.torch_writer import Call, Global, Persistent, Raw, tensor, write_archive, write_tree

WRITTEN_BY_TORCH = Path(__file__).parent.parent / "data" / "pretrained" / "torch_save.pt"
FLOATS = np.arange(6, dtype=np.float32)
MEBIBYTE = 1 << 20


@contextlib.contextmanager
def memory_below(limit):
    """Fails when Python's peak memory rises by more than `limit` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def read_all(path):
    for leaf in read_checkpoint(path).tensors.values():
        leaf.read()


def refused(path, *fragments):
    """Asserts one clear line that names the file, and little memory; returns it."""
    with memory_below(20 * MEBIBYTE), pytest.raises(UserError) as caught:
        read_all(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message.replace(str(path), "")) < 550
    for fragment in fragments:
        assert fragment in message
    return message


class TestWhatIsRead:
    def test_a_file_that_pytorch_wrote(self):
        content = read_torch_file(WRITTEN_BY_TORCH)
        assert content["epoch"] == 3
        assert content["size"] == (1, 2)
        assert content["cfg"].startswith("MODEL:")
        tensors = content["model_state"]
        whole = np.arange(24, dtype=np.float32).reshape(4, 6)
        expected = {
            "whole": whole,
            "columns": whole[:, 1:3],
            "transposed": whole.T,
            "bfloat16": np.array([1.5, -2, 3], torch_writer.BFLOAT16),
            "float16": np.array([0.5, 0.25], np.float16),
            "flags": np.array([True, False, True]),
            "parameter": np.ones((2, 2), np.float32),
            "empty": np.zeros((0, 3), np.float32),
            "scalar": np.array(5, np.int64),
            "float64": np.array([1e300]),
        }
        assert list(tensors) == list(expected)
        for name, array in expected.items():
            read = tensors[name].read()
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)

    def test_names_are_paths_through_the_containers(self, tmp_path):
        checkpoint = read_checkpoint(WRITTEN_BY_TORCH)
        assert checkpoint.tensors["model_state.columns"].shape == (4, 2)
        assert {"epoch", "cfg"} <= set(checkpoint.other)
        content = {"epoch": 3, "model": [{"a": FLOATS}, {"b": FLOATS[:2]}]}
        checkpoint = read_checkpoint(torch_writer.save(tmp_path / "file.pth", {"state": content}))
        assert list(checkpoint.tensors) == ["state.model.0.a", "state.model.1.b"]
        np.testing.assert_array_equal(checkpoint.tensors["state.model.1.b"].read(), FLOATS[:2])

    def test_names_of_wrappers_are_left_out(self, tmp_path):
        names = (
            "_orig_mod.module.norm.weight",
            "module.blocks.0._fsdp_wrapped_module.a",
            "blocks.1._checkpoint_wrapped_module.a",
        )
        path = torch_writer.save(tmp_path / "file.pth", dict.fromkeys(names, FLOATS))
        assert list(read_checkpoint(path).tensors) == ["module.norm.weight", "module.blocks.0.a", "blocks.1.a"]
        path = torch_writer.save(tmp_path / "file.pth", {"_orig_mod.a": FLOATS, "a": FLOATS})
        refused(path, "holds a twice")

    @pytest.mark.parametrize(("name", "is_safetensors"), [("a.pth", True), ("b.safetensors", False), ("c", True)])
    def test_formats_are_told_apart_by_content(self, tmp_path, name, is_safetensors):
        path = tmp_path / name
        if is_safetensors:
            save_file({"a": FLOATS}, path)
        else:
            torch_writer.save(path, {"a": FLOATS})
        np.testing.assert_array_equal(read_checkpoint(path).tensors["a"].read(), FLOATS)

    def test_reading_does_not_change_with_the_position_in_the_file(self, tmp_path):
        path = torch_writer.save(tmp_path / "file.pt", {"odd": np.array([1, 0], bool), "a": FLOATS})
        np.testing.assert_array_equal(read_checkpoint(path).tensors["a"].read(), FLOATS)


class TestNothingIsRun:
    @pytest.mark.parametrize(
        "payload",
        [
            Call("os", "system", "touch {}"),
            Call("builtins", "eval", "open({!r}, 'w')"),
            Call("builtins", "__import__", "os"),
            Global("posix", "system"),
            Raw(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93"),
            Raw(b"(X\x04\x00\x00\x00trueios\nsystem\n"),
            Raw(b"cos\nsystem\n)\x81"),
            Call("torch", "FloatStorage", 10**12),
        ],
    )
    def test_calls_are_refused(self, tmp_path, payload):
        touched = tmp_path / "touched"
        if isinstance(payload, Call):
            payload.arguments = tuple(a.format(str(touched)) if isinstance(a, str) else a for a in payload.arguments)
        path = write_tree(tmp_path / "evil.pth", {"model_state": {"a": payload}})
        refused(path, "data.pkl", "not allowed")
        assert not touched.exists()

    def test_pythons_own_unpickler_would_have_run_it(self, tmp_path):
        """The same instructions do harm elsewhere: the test above is not empty."""

        class Harm:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "harm"),)

        data = pickle.dumps({"a": Harm()}, 2)
        refused(write_archive(tmp_path / "evil.pth", data, {}), "posix.mkdir")
        assert not (tmp_path / "harm").exists()
        pickle.loads(data)
        assert (tmp_path / "harm").exists()

    def test_state_cannot_be_given_to_a_name(self, tmp_path):
        refused(write_tree(tmp_path / "evil.pth", {"a": Raw(b"ctorch\nfloat32\n}b")}), "state for")


class Schedule:
    """A class of a training framework, which this test alone has."""

    def __init__(self):
        self.milestones = {1, 2}
        self.last = np.float32(0.5)

    def __setstate__(self, state):
        raise AssertionError("made")


def raw(value):
    """The instructions by which Python pickles a value."""
    return Raw(pickle.dumps(value, 2)[2:-1])


class TestOtherObjects:
    def test_a_file_of_a_training_framework(self, tmp_path):
        content = {
            "pytorch-lightning_version": "2.5",
            "state_dict": {"model.a": tensor("0", "float32", 6, (6,))},
            "hyper_parameters": raw(argparse.Namespace(lr=0.1, path=Path("data"))),
            "callbacks": raw({"schedule": Schedule(), "best": np.float64(0.5), "scores": np.arange(3.0)}),
            "bytes": Call("torch.storage", "_load_from_bytes", "x"),
            "device": Call("torch", "device", "cuda"),
            "dtype": Global("torch", "float32"),
            "loops": raw(collections.defaultdict(list, a=[1])),
        }
        checkpoint = read_checkpoint(write_tree(tmp_path / "epoch.ckpt", content, {"0": FLOATS.tobytes()}))
        assert list(checkpoint.tensors) == ["state_dict.model.a", "callbacks.scores"]
        np.testing.assert_array_equal(checkpoint.tensors["state_dict.model.a"].read(), FLOATS)
        np.testing.assert_array_equal(checkpoint.tensors["callbacks.scores"].read(), np.arange(3.0))
        assert {"hyper_parameters.lr", "callbacks.schedule.last", "dtype"} <= set(checkpoint.other)

    def test_weights_as_arrays_of_numpy(self, tmp_path):
        path = write_tree(tmp_path / "file.pkl", {"model": raw({"a": FLOATS, "b": np.ones((2, 3), ">f8")})})
        arrays = {name: each.read() for name, each in read_checkpoint(path).tensors.items()}
        np.testing.assert_array_equal(arrays["model.a"], FLOATS)
        np.testing.assert_array_equal(arrays["model.b"], np.ones((2, 3)))

    def test_a_module_that_was_saved_whole(self, tmp_path):
        def module(name, parameters=None, **modules):
            state = {"training": True, "_parameters": parameters or {}, "_buffers": {}, "_modules": modules}
            return Raw(f"cmodels.net\n{name}\n)\x81".encode("latin1") + torch_writer.instructions(state) + b"b")

        weight = Call("torch._utils", "_rebuild_parameter", tensor("0", "float32", 6, (2, 3)), True, {})
        network = module("Net", blocks=module("Sequential", **{"0": module("Linear", {"weight": weight})}))
        path = write_tree(tmp_path / "whole.pt", {"epoch": 3, "ema": network}, {"0": FLOATS.tobytes()})
        checkpoint = read_checkpoint(path)
        assert list(checkpoint.tensors) == ["ema.blocks.0.weight"]
        np.testing.assert_array_equal(checkpoint.tensors["ema.blocks.0.weight"].read(), FLOATS.reshape(2, 3))

    def test_tensors_of_derived_classes_and_of_other_dtypes(self, tmp_path):
        plain = tensor("0", "float32", 6, (6,))
        kind, rebuild = Global("timm.layers", "Parameter"), plain.function
        derived = Call("torch._tensor", "_rebuild_from_type_v2", rebuild, kind, plain.arguments, {})
        loop = Call(
            "torch._tensor", "_rebuild_from_type_v2", Global("torch._tensor", "_rebuild_from_type_v2"), kind, ()
        )
        storage = Persistent(("storage", Global("torch", "QInt8Storage"), "1", "cpu", 6))
        quantised = Call("torch._utils", "_rebuild_tensor_v2", storage, 0, (6,), (1,))
        content = {"a": derived, "loop": loop, "q": quantised}
        checkpoint = read_checkpoint(write_tree(tmp_path / "file.pt", content, {"0": FLOATS.tobytes(), "1": b"abcdef"}))
        assert list(checkpoint.tensors) == ["a"]
        np.testing.assert_array_equal(checkpoint.tensors["a"].read(), FLOATS)


class TestArchivesAreBounded:
    def test_a_zip_bomb(self, tmp_path):
        path = write_tree(
            tmp_path / "bomb.pth",
            {"a": tensor("0", "float32", 25 * MEBIBYTE, (25 * MEBIBYTE,))},
            {"0": bytes(100 * MEBIBYTE)},
            compression=zipfile.ZIP_DEFLATED,
        )
        assert path.stat().st_size < MEBIBYTE
        refused(path, "compressed", "104,857,600")

    def test_entries_that_claim_more_than_the_file_has(self, tmp_path):
        path = torch_writer.save(tmp_path / "file.pth", {"a": FLOATS})
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
        content[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
        path.write_bytes(content)
        refused(path, "claim 2,147,4")

    @pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
    def test_a_truncated_file(self, tmp_path, kept):
        path = torch_writer.save(tmp_path / "file.pth", {f"a{i}": FLOATS for i in range(20)})
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        refused(path, "truncated")

    def test_a_changed_byte(self, tmp_path):
        path = torch_writer.save(tmp_path / "file.pth", {"a": FLOATS})
        path.write_bytes(path.read_bytes().replace(FLOATS.tobytes(), (FLOATS + 1).tobytes()))
        refused(path, "data/0", "checksum")

    def test_a_directory_of_great_length(self, tmp_path):
        path = tmp_path / "file.pth"
        end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 9, 9, 30 * MEBIBYTE, 0, 0)
        path.write_bytes(b"PK\x03\x04" + bytes(30 * MEBIBYTE - 4) + end)
        refused(path, "directory of 31,457,280 bytes")

    @pytest.mark.parametrize(
        ("content", "fragment"),
        [
            (b"", "empty"),
            (b"<html>404</html>", "neither"),
            (pickle.dumps({"a": 1}, 2), "old format"),
        ],
    )
    def test_other_files(self, tmp_path, content, fragment):
        path = tmp_path / "file.pth"
        path.write_bytes(content)
        refused(path, fragment)

    def test_files_that_are_not_there(self, tmp_path):
        refused(tmp_path / "absent.pth", "cannot be read")
        refused(tmp_path / "absent.safetensors", "safetensors")
        (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 64)
        refused(tmp_path / "bad.safetensors", "safetensors")

    def test_zips_of_something_else(self, tmp_path):
        path = tmp_path / "file.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/readme.txt", "hello")
        refused(path, "data.pkl")


class TestTensorsAreBounded:
    @pytest.mark.parametrize(
        "claim",
        [
            tensor("0", "float32", 6, (7,)),
            tensor("0", "float32", 6, (2, 4)),
            tensor("0", "float32", 6, (3,), offset=4),
            tensor("0", "float32", 6, (2,), strides=(6,)),
            tensor("0", "float32", 6, (1 << 40, 1 << 20), strides=(0, 0)),
            tensor("0", "float32", 6, (1 << 61,) * 16, strides=(0,) * 16),
            tensor("0", "float32", 6, (3,), offset=-1),
            tensor("0", "float32", 6, (3,), strides=(-1,)),
            tensor("0", "float32", 6, (3, -2)),
            tensor("0", "float32", 6, (3, 2), strides=(2,)),
            tensor("0", "float32", 6, (1 << 2000,)),
            tensor("0", "float32", 6, (1.5,)),
            tensor("0", "float32", 1 << 50, (3,)),
            tensor("0", "float64", 6, (3,)),
            tensor("1", "float32", 6, (3,)),
            tensor("../../etc/passwd", "float32", 6, (3,)),
            Call("torch._utils", "_rebuild_tensor_v2", "storage", 0, (1,), (1,)),
            Call("torch._utils", "_rebuild_tensor_v2"),
            Persistent(("module", "os", "system")),
            Persistent(("storage", Global("torch", "float32"), "0", "cpu", 6)),
        ],
    )
    def test_claims_beyond_the_storage(self, tmp_path, claim):
        path = write_tree(tmp_path / "file.pth", {"a": claim}, {"0": FLOATS.tobytes()})
        refused(path, "data.pkl")

    @pytest.mark.parametrize(
        "instructions",
        {
            "many marks": b"(" * 2000 + b".",
            "memo of nothing": b"r\xff\xff\xff\xff.",
            "a memo of 4 G places, which C's unpickler would allocate": b"}r\xff\xff\xff\xff.",
            "long text": b"\x8d" + struct.pack("<Q", 1 << 62) + b"x.",
            "long bytes": b"\x96" + struct.pack("<Q", 1 << 40) + b"x.",
            "a nested key, by whose hash C's stack would overflow": b"}" + b")" + b"\x85" * 30_000 + b"K\x01s.",
            "cut in an argument": b"}K",
            "unknown memo": b"h\x07.",
            "append without list": b"e.",
            "item without dict": b"NNNs.",
            "no end": b"",
            "unknown instruction": b"\xff\xfe",
            "nothing": b".",
        }.items(),
        ids=lambda item: item[0],
    )
    def test_damaged_and_malicious_pickles(self, tmp_path, instructions):
        refused(write_archive(tmp_path / "file.pth", b"\x80\x05" + instructions[1], {}))

    def test_the_number_of_instructions_is_bounded(self, tmp_path, monkeypatch):
        monkeypatch.setattr(restricted_pickle, "MAX_STEPS", 1000)
        refused(write_archive(tmp_path / "file.pth", b"\x80\x02" + b"}" * 1000 + b".", {}), "1,000 opcodes")

    def test_containers_that_hold_themselves_or_one_another_many_times(self, tmp_path, monkeypatch):
        monkeypatch.setattr(source, "MAX_LEAVES", 5000)
        refused(write_archive(tmp_path / "self.pth", b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.", {}), "levels")
        lists = b"]q\x000" + b"".join(b"](" + b"h%c" % level * 40 + b"eq%c0" % (level + 1) for level in range(6))
        path = write_archive(tmp_path / "many.pth", b"\x80\x02" + lists + b"}X\x01\x00\x00\x00ah\x06s.", {})
        refused(path, "more than 5,000")

    @pytest.mark.parametrize("name", ["two\nlines", "\x1b[2Jcleared", "long" * 1000])
    def test_names_that_would_spoil_a_report(self, tmp_path, name):
        refused(torch_writer.save(tmp_path / "file.pth", {name: FLOATS}), "the name" if len(name) < 100 else "letters")
        refused(write_tree(tmp_path / "entry.pth", {"a": tensor(name, "float32", 6, (6,))}), "storage")

    def test_a_file_without_arrays(self, tmp_path):
        refused(torch_writer.save(tmp_path / "file.pth", {"epoch": 1}), "no named arrays")
