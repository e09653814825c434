"""What TensorBoard shows of a run, beside what its ``scalars.jsonl`` holds."""

from __future__ import annotations

import struct

import numpy as np
from tensorboardX.proto import event_pb2

from musclemap_jax.storage.scalars import read_scalars


def events(path):
    """Events of a file of TensorFlow records: length, its checksum, data, its checksum."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield event_pb2.Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def shown_by_tensorboard(folder):
    """Name -> [(step, value)], by TensorBoard's rule: a START at a step forgets that step and all later ones."""
    shown: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        for event in events(path):
            if event.session_log.status == event_pb2.SessionLog.START:
                shown = {name: [row for row in rows if row[0] < event.step] for name, rows in shown.items()}
            for value in event.summary.value:
                shown.setdefault(value.tag, []).append((event.step, value.simple_value))
    return shown


def in_scalars(workdir):
    """The same of ``scalars.jsonl``, in the precision of events."""
    series = read_scalars(workdir / "scalars.jsonl")
    return {
        name: list(zip(of.steps.tolist(), of.values.astype(np.float32).tolist(), strict=True))
        for name, of in series.items()
    }
