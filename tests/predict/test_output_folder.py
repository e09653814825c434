"""The folder of results appears as a whole or not at all."""

from __future__ import annotations

import errno
import stat

import pytest

from musclemap_jax.predict.output_folder import OutputError, check_replaceable, results_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "a" / "b" / "squat"
    with results_folder(target) as folder:
        (folder / "muscles.json").write_text("new")
        assert not target.exists()
    assert names(target.parent) == ["squat"]
    assert (target / "muscles.json").read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "a").stat().st_mode)


@pytest.mark.parametrize(("folder", "reason"), [("/proc/x", "No such file"), ("v" * 300, "File name too long")])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, folder, reason):
    with pytest.raises(OutputError, match=f"squat: the results could not be written: {reason}"):
        results_folder(tmp_path / folder / "squat").__enter__()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing(tmp_path, error):
    def write():
        with results_folder(tmp_path / "out" / "squat") as folder:
            (folder / "muscles.json").write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == []


def test_an_error_keeps_what_was_there(tmp_path):
    def write(text, fails):
        with results_folder(tmp_path / "squat") as folder:
            (folder / "muscles.json").write_text(text)
            if fails:
                raise KeyError

    write("old", fails=False)
    with pytest.raises(KeyError):
        write("new", fails=True)
    assert names(tmp_path) == ["squat"]
    assert (tmp_path / "squat" / "muscles.json").read_text() == "old"
    write("new", fails=False)
    assert names(tmp_path) == ["squat"]
    assert (tmp_path / "squat" / "muscles.json").read_text() == "new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_refusal_of_the_system_is_one_line(tmp_path, number):
    def write():
        with results_folder(tmp_path / "squat"):
            raise OSError(number, "as the system says it")

    with pytest.raises(OutputError, match=r"/squat: the results could not be written: .*: free some space or choose"):
        write()
    assert names(tmp_path) == []


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "out").write_text("")

    def write():
        with results_folder(tmp_path / "out" / "squat"):
            pass

    with pytest.raises(OutputError, match=r"/out/squat: the results could not be written: "):
        write()


def test_only_results_are_replaced(tmp_path):
    check_replaceable(tmp_path / "absent")
    (tmp_path / "photos").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "muscles.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "results")
    check_replaceable(tmp_path / "results")
    for name in ("photos", "link"):
        with pytest.raises(OutputError, match=f"/{name}: exists and is not a folder of results: choose another --out"):
            check_replaceable(tmp_path / name)


def test_results_with_other_files_beside_them_are_not_replaced(tmp_path):
    for name in ("muscles.json", "muscles.csv", "report.html", "report_person12.html", "annotated.mp4"):
        (tmp_path / name).write_text("")
    check_replaceable(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(OutputError, match=r"holds other files beside the results, such as notes\.txt: move them"):
        check_replaceable(tmp_path)
