"""Compiled programs in files: compiled once, ahead of time, and loaded by every process of a run.

A file is a line of JSON, which says what the program was compiled from and for, and XLA's own serialization, whose
format belongs to one version of jaxlib (and libtpu). Loading it unpickles: load only files of your own.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath
from jax.experimental import serialize_executable

from musclemap_jax.errors import UserError
from musclemap_jax.runtime.code_version import code_version
from musclemap_jax.storage.files import replace_bytes

Identity = dict[str, str]

_KERNEL_BODIES = re.compile(r"backend_config = (\"(?:[^\"\\]|\\.)*\"|\{[^}]*\})")
"""Pallas kernels in the program's text, which state where their source code lies; the code's version stands for it."""

_PACKAGES = ("jax", "jaxlib", "libtpu")


def identity_of(lowered: jax.stages.Lowered, devices: Sequence[jax.Device]) -> Identity:
    """What a program is compiled from and for; equal identities compile to equal programs."""
    text = _KERNEL_BODIES.sub("", lowered.as_text())
    versions = {package: _version(package) for package in _PACKAGES}
    return versions | {
        "code": code_version(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "program": hashlib.sha256(text.encode()).hexdigest(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def save_program(compiled: jax.stages.Compiled, identity: Identity, path: epath.PathLike) -> int:
    """Writes a program, local or on ``gs://``; returns the size of the file in bytes."""
    payload, *_ = serialize_executable.serialize(compiled)
    content = json.dumps(identity).encode() + b"\n" + payload
    replace_bytes(path, content)
    return len(content)


def load_program(
    path: epath.PathLike, lowered: jax.stages.Lowered, devices: Sequence[jax.Device]
) -> jax.stages.Compiled:
    """Loads the program that `lowered` would compile to.

    Raises:
      UserError: There is no such file, or it has another program.
    """
    try:
        head, _, payload = epath.Path(path).read_bytes().partition(b"\n")
        saved = json.loads(head)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a program of compile_ahead --save: {error}") from error
    identity = identity_of(lowered, devices)
    differing = [name for name in identity if saved.get(name) != identity[name]]
    if differing:
        changes = "; ".join(f"{name} {saved.get(name)} there, {identity[name]} here" for name in differing)
        raise UserError(f"{path}: compiled from or for something else ({changes}): save it again with compile_ahead")
    return _load(payload, lowered, devices)


def _load(payload: bytes, lowered: jax.stages.Lowered, devices: Sequence[jax.Device]) -> jax.stages.Compiled:
    arguments: Any = jax.tree.structure(lowered.args_info)
    results = jax.tree.structure(lowered.out_info)
    return serialize_executable.deserialize_and_load(
        payload, arguments, results, backend=devices[0].client, execution_devices=devices
    )
