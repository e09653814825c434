"""Tests of writing CSV files."""

import csv

import pytest

from musclemap_jax.storage.csv_files import write_csv


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
