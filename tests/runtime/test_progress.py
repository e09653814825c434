"""What is shown of a run's progress: on a terminal, elsewhere, and in the log."""

import io
import logging
import sys

import pytest

from musclemap_jax.runtime.progress import Progress


class Stderr(io.StringIO):
    """Standard error that may be a terminal."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.fixture
def show(monkeypatch, caplog):
    """A function (is_terminal, primary=True) that shows two steps and a validation; returns stderr and the log."""

    def show(is_terminal, primary=True):
        stderr = Stderr(is_terminal)
        monkeypatch.setattr(sys, "stderr", stderr)
        handler = logging.StreamHandler(stderr)
        logging.getLogger().addHandler(handler)
        caplog.set_level(logging.INFO, "musclemap_jax")
        try:
            progress = Progress(3, 10, primary)
            for step in (4, 5):
                progress.show(step, {"loss": "0.5000", "wait": "1%"})
                progress.advance()
            progress.report(5, {"val_known/mAP": "0.2500"})
            progress.close()
        finally:
            logging.getLogger().removeHandler(handler)
        return stderr.getvalue(), caplog.messages

    return show


LINES = [
    "train: step 4 of 10: loss 0.5000, wait 1%",
    "train: step 5 of 10: loss 0.5000, wait 1%",
    "train: step 5 of 10: val_known/mAP 0.2500",
]


def test_without_a_terminal_there_are_lines(show):
    shown, logged = show(is_terminal=False)
    assert shown.splitlines() == logged == LINES


def test_on_a_terminal_the_bar_stands_for_the_lines_but_the_validation_stays(show, tmp_path):
    process_log = logging.FileHandler(tmp_path / "log")
    logging.getLogger("musclemap_jax").addHandler(process_log)
    try:
        shown, _ = show(is_terminal=True)
    finally:
        logging.getLogger("musclemap_jax").removeHandler(process_log)
        process_log.close()
    assert "step 4 of 10" not in shown
    assert LINES[2] in shown
    assert "train:" in shown.splitlines()[-1].split("\r")[-1]
    assert "5/10" in shown
    assert "loss=0.5000, wait=1%" in shown
    assert (tmp_path / "log").read_text().splitlines() == LINES
    assert not any(handler.filters for handler in logging.getLogger().handlers)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_other_processes_show_nothing(show, is_terminal):
    assert show(is_terminal, primary=False) == ("", [])
