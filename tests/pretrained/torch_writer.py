"""Writes files as `torch.save` does, without PyTorch, and files that it would never write.

The instructions, names and order of entries are those of PyTorch 2.13 (compare tests/data/pretrained/torch_save.pt,
which PyTorch wrote).
"""

import struct
import zipfile

import ml_dtypes
import numpy as np

STORAGE_NAMES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "bool": "BoolStorage",
}
BFLOAT16 = ml_dtypes.bfloat16


class Global:
    """A name, such as Global("torch", "FloatStorage")."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """A call of a name."""

    def __init__(self, module, name, *arguments):
        self.function, self.arguments = Global(module, name), arguments


class Persistent:
    """A persistent id."""

    def __init__(self, identity):
        self.identity = identity


class Raw:
    """Instructions as they are."""

    def __init__(self, instructions):
        self.instructions = instructions


def tensor(key, dtype, storage_size, shape, offset=0, strides=None):
    """What stands in a pickle for a tensor."""
    if strides is None:
        strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    storage = Persistent(("storage", Global("torch", STORAGE_NAMES[dtype]), key, "cpu", storage_size))
    hooks = Call("collections", "OrderedDict")
    return Call("torch._utils", "_rebuild_tensor_v2", storage, offset, tuple(shape), tuple(strides), False, hooks)


def instructions(value):
    """The pickle instructions that build a value, protocol 2."""
    if isinstance(value, Raw):
        return value.instructions
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        return instructions(value.function) + instructions(value.arguments) + b"R"
    if isinstance(value, Persistent):
        return instructions(value.identity) + b"Q"
    if isinstance(value, dict):
        items = b"".join(instructions(key) + instructions(item) for key, item in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(instructions, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(instructions, value)) + b"t"
    if isinstance(value, bool) or value is None:
        return {True: b"\x88", False: b"\x89", None: b"N"}[value]
    if isinstance(value, int):
        length = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([length]) + value.to_bytes(length, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    text = value.encode()
    return b"X" + struct.pack("<I", len(text)) + text


def write_archive(path, pickle, storages, compression=zipfile.ZIP_STORED):
    """Writes the zip; `storages` is {key: bytes}."""
    folder = path.stem
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", pickle)
        archive.writestr(f"{folder}/.format_version", "1")
        archive.writestr(f"{folder}/byteorder", "little")
        for key, content in storages.items():
            archive.writestr(f"{folder}/data/{key}", content)
        archive.writestr(f"{folder}/version", "3\n")
    return path


def write_tree(path, tree, storages=None, **options):
    """Writes a tree of the classes above."""
    return write_archive(path, b"\x80\x02" + instructions(tree) + b".", storages or {}, **options)


def save(path, tree):
    """Writes nested containers with numpy arrays as `torch.save` writes them with tensors."""
    storages = {}

    def replaced(value):
        if isinstance(value, np.ndarray):
            key = str(len(storages))
            storages[key] = np.ascontiguousarray(value).tobytes()
            return tensor(key, value.dtype.name, value.size, value.shape)
        if isinstance(value, dict):
            return {key: replaced(item) for key, item in value.items()}
        return list(map(replaced, value)) if isinstance(value, list) else value

    return write_tree(path, replaced(tree), storages)
