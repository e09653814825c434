"""Objects of unknown classes in a pickle: read around, never made, and harmful ones refused."""

import argparse
import collections
import enum
import pathlib
import pickle
import sys

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.storage.pickled_arrays import BOOLEANS, FLOATS, INTEGERS, PickledArray, array_functions
from musclemap_jax.storage.placeholders import Placeholder
from musclemap_jax.storage.restricted_pickle import Name, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
TOUCHED = []


def read(value, protocol=2, functions=None):
    data = value if isinstance(value, bytes) else pickle.dumps(value, protocol)
    return read_pickle(data, functions or {}, placeholders=True, allowed="save numbers alone")


class Loud:
    """Whose every way to be made leaves a trace."""

    def __new__(cls, *arguments):
        TOUCHED.append("new")
        return super().__new__(cls)

    def __init__(self, *arguments):
        TOUCHED.append("init")
        self.rate = 0.5

    def __getnewargs__(self):
        return (1, 2)

    def __getstate__(self):
        return {"rate": self.rate}

    def __setstate__(self, state):
        TOUCHED.append("setstate")
        self.__dict__ = state


class Reduced(Loud):
    def __reduce__(self):
        return Reduced, (1,), {"rate": self.rate}


class Slots:
    __slots__ = ("rate",)


class Colour(enum.Enum):
    RED = 1


class Config(dict):
    pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [Loud, Reduced])
def test_objects_are_not_made_but_their_attributes_can_be_read(protocol, kind):
    data = pickle.dumps({"a": kind(), "b": 3}, protocol)
    TOUCHED.clear()
    content = read(data)
    assert TOUCHED == []
    assert isinstance(content["a"], Placeholder)
    assert content["a"].state == {"rate": 0.5}
    assert content["b"] == 3
    pickle.loads(data)
    assert TOUCHED  # Python's own unpickler runs the same bytes


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("a")), "argparse.Namespace"),
        (pathlib.PurePosixPath("/data/weights"), "PurePosixPath"),
        (Colour.RED, "Colour"),
        ({1, 2}, "set"),
        (frozenset("ab"), "frozenset"),
        (collections.defaultdict(list, a=[1]), "collections.defaultdict"),
        (complex(1, 2), "complex"),
        (argparse.Namespace, None),
        (slice(1, 2), "slice"),
    ],
)
def test_what_frameworks_save_beside_weights_is_read_around(protocol, value, name):
    content = read({"a": value, "b": [3.5]}, protocol)
    assert content["b"] == [3.5]
    if name is None:
        assert isinstance(content["a"], Name)
    elif protocol >= 2 or name in ("collections.defaultdict", "complex"):
        assert content["a"].name.endswith(name)
    else:  # made by copyreg
        assert isinstance(content["a"], Placeholder)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_items_of_a_dict_of_another_class_are_kept(protocol):
    config = Config(model={"depth": 16})
    config.frozen = True
    content = read([config], protocol)
    if protocol >= 2:
        assert content[0].items == {"model": {"depth": 16}}
    assert content[0].state == {"frozen": True}


def test_attributes_in_slots():
    value = Slots()
    value.rate = 0.25
    assert read(value).state == {"rate": 0.25}


def test_no_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "loud_module.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert read(b"\x80\x02cloud_module\nClass\n)\x81}X\x01\x00\x00\x00aK\x01sb.").state == {"a": 1}
    assert "loud_module" not in sys.modules
    with pytest.raises(SystemExit, match="imported"):
        __import__("loud_module")


@pytest.mark.parametrize(
    "data",
    [
        b"(i__main__\nThing\n.",
        b"(c__main__\nThing\nK\x01o.",
        b"c__main__\nThing\n)}\x92.",
        b"c__main__\nThing\n)R)R.",
        b"c__main__\nThing\n)\x81(K\x01K\x02e.",
        b"c__main__\nThing\n)\x81}b0K\x01(K\x02K\x0312c__main__\nThing\n)R.",
    ],
    ids=["INST", "OBJ", "NEWOBJ_EX", "call of a result", "APPENDS", "POP, POP_MARK and DUP"],
)
def test_every_opcode_that_makes_an_object(data):
    assert read(data).name == "__main__.Thing"


def test_keys_of_any_kind_do_not_overflow():
    nested = b"}" + b")" + b"\x85" * 30_000 + b"K\x01s."
    (key,) = read(nested)
    assert isinstance(key, Placeholder)
    assert [key.name if isinstance(key, Placeholder) else key for key in read({Colour.RED: 1, 2: 3})][1] == 2


@pytest.mark.parametrize(
    "name", ["os system", "posix system", "nt system", "subprocess Popen", "builtins eval", "__builtin__ execfile"]
)
def test_harmful_names_are_refused(name):
    module, attribute = name.split()
    with pytest.raises(UserError, match=rf"the name '{module}.{attribute}' \(opcode GLOBAL at byte 2\).*save numbers"):
        read(f"\x80\x02c{module}\n{attribute}\n.".encode("latin1"))


def test_without_placeholders_every_other_name_is_refused():
    data = pickle.dumps(Loud(), 2)
    with pytest.raises(UserError, match=r"the name '.*Loud' \(opcode GLOBAL"):
        read_pickle(data, {}, allowed="save numbers alone")
    with pytest.raises(UserError, match=r"an object of set \(opcode EMPTY_SET"):
        read_pickle(pickle.dumps({1}, 4), {}, allowed="save numbers alone")


class TestArrays:
    FUNCTIONS = array_functions((*INTEGERS, *FLOATS, *BOOLEANS), 16, allowed=None)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "|i1", ">u2", "<i8", "|b1"])
    def test_arrays_in_every_protocol_and_dtype(self, protocol, dtype):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        for value in (array, np.asfortranarray(array), array[:, ::2], array[:0], array[0, 0:1].reshape(())):
            content = read([value], protocol, self.FUNCTIONS)[0]
            assert isinstance(content, PickledArray)
            np.testing.assert_array_equal(content.values, value)
            assert content.values.dtype == value.dtype

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_numbers(self, protocol):
        values = [np.float32(0.5), np.int64(-3), np.bool_(True)]
        assert read(values, protocol, self.FUNCTIONS) == [0.5, -3, True]

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_arrays_of_other_dtypes_are_empty(self, protocol):
        values = [np.array(["a", {}], object), np.array(["ab"]), np.array([1j]), np.datetime64("2026-01-01")]
        objects, text, complex_numbers, date = read(values, protocol, self.FUNCTIONS)
        assert date is None
        assert not any(array.is_read or array.values.size for array in (objects, text, complex_numbers))

    def test_names_of_numpy_1(self):
        data = pickle.dumps([np.float32(2), np.ones(2)], 2)
        old = data.replace(b"numpy._core", b"numpy.core")
        assert b"numpy.core" in old
        number, array = read(old, functions=self.FUNCTIONS)
        assert (number, array.values.tolist()) == (2.0, [1.0, 1.0])

    def test_other_dtypes_may_be_refused(self):
        with pytest.raises(
            UserError, match=r"the numpy dtype 'f4' \(opcode REDUCE\), which is not allowed: save integers"
        ):
            read([np.float32(1)], 2, array_functions(INTEGERS, 2, "save integers"))

    @pytest.mark.parametrize(
        "state",
        [
            (1, (2,), np.dtype("f4"), False, b"\0" * 4),
            (1, (-1,), np.dtype("f4"), False, b""),
            (1, (1 << 40, 0), np.dtype("f4"), False, b"\0" * 4),
            (1, (1.0,), np.dtype("f4"), False, b"\0" * 4),
            (1, "ab", np.dtype("f4"), False, b"\0" * 4),
            (1, (1,), "f4", False, b"\0" * 4),
            (1, (1,), np.dtype("f4"), False, [1.0]),
            (1,),
            {},
        ],
    )
    def test_states_that_do_not_fit_are_damage(self, state):
        rebuilt = pickle.dumps([state], 3)[2:-1]
        array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
        with pytest.raises(UserError, match="damaged pickle"):
            read(b"\x80\x03" + rebuilt + b"0" + array + pickle.dumps(state, 3)[2:-1] + b"b.", functions=self.FUNCTIONS)
