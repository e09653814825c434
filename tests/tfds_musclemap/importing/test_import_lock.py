"""Two imports into one raw data set take turns."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest

from tfds_musclemap.importing.import_lock import import_lock


def test_a_second_import_waits_for_the_first(tmp_path, monkeypatch):
    order, said = [], io.StringIO()  # not capsys, which loses what a thread writes while it is read
    monkeypatch.setattr(sys, "stderr", said)

    def second():
        with import_lock(tmp_path / "data"):
            order.append("second")

    with import_lock(tmp_path / "data"):
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 60
        while "waiting for another process that is importing into" not in said.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_after_an_error_the_next_import_does_not_wait(tmp_path, capsys):
    with pytest.raises(KeyError), import_lock(tmp_path / "absent" / "data"):
        raise KeyError
    with import_lock(tmp_path / "absent" / "data"):
        assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []
