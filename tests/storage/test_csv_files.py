"""Tests of writing CSV files."""

import csv

import pytest

from musclemap_jax.storage.csv_files import read_csv, write_csv


def test_csv_round_trips_commas_quotes_line_breaks_and_unicode(tmp_path):
    path = tmp_path / "table.csv"
    rows = [["a,b", 'say "hi"'], ["two\nlines", "Übung"], ["", 0.5]]
    write_csv(path, ("name", "value"), rows)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file, strict=True)) == [["name", "value"], *[[str(v) for v in row] for row in rows]]
    assert path.read_bytes().startswith(b'name,value\n"a,b","say ""hi"""\n')


def test_a_row_of_wrong_length_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, ["a", "b"], iter([(1, 2)]))
    with pytest.raises(ValueError, match="row 2: expected 2 values, got 3"):
        write_csv(path, ["a", "b"], [(3, 4), (5, 6, 7)])
    assert path.read_text() == "a,b\n1,2\n"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''@a", "-squat", "="]
"""Texts that a spreadsheet would run, and texts that look like them once they are written."""
HARMLESS = ["", "a\rb", "'", "a=b", "'quoted'", "squat -", "-1.5", "+2e-3", "-inf", "Übung"]


def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe_and_reads_back(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, ["=a", "value"], [[text, text] for text in FORMULAS + HARMLESS])
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == ["'=a", "value"]
    assert [row[0] for row in rows] == [f"'{text}" for text in FORMULAS] + HARMLESS
    text = path.read_bytes().decode()
    assert read_csv(text) == [{"=a": text, "value": text} for text in FORMULAS + HARMLESS]


def test_numbers_stay_numbers(tmp_path):
    write_csv(tmp_path / "table.csv", ["a", "b", "c"], [[-1, -0.5, "-18.9008"]])
    assert (tmp_path / "table.csv").read_text() == "a,b,c\n-1,-0.5,-18.9008\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1\n", "row 1: expected 2 values, got 1"),
        ('a\n"b', "line 2: expected comma-separated values: unexpected end of data"),
    ],
)
def test_a_damaged_file_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        read_csv(text)


def test_an_empty_file_has_no_rows():
    assert read_csv("") == []
