"""JSON objects that the program wrote earlier: what is wrong with a file, and what to do about it, in one line."""

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.storage.json_files import read_json_object


def test_an_object_is_read(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"a": {"b": [1, 2]}, "b": null}')
    assert read_json_object(path, "delete it") == {"a": {"b": [1, 2]}, "b": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1', "damaged: not JSON"),
        ("[1]", "damaged: expected a JSON object, got a list"),
        ("[" * 100_000, "damaged: not JSON"),
        ('{"a": {"b": 1, "b": 1}}', r"damaged: not JSON \(key 'b' stands twice\)"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_another_file_is_named_with_the_fix(tmp_path, text, message):
    path = tmp_path / "file.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"file\.json: {message}.*: delete it$"):
        read_json_object(path, "delete it")
