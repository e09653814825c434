"""Where the command line finds a configuration."""

import sys

import pytest
from absl import flags
from etils import epath
from ml_collections import config_flags

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.command_line import parse_config, with_run_config
from musclemap_jax.experiment.config import default_config, resolve
from musclemap_jax.experiment.workdir import CONFIG, claim_workdir


@pytest.fixture
def run(tmp_path):
    """Workdir of a run of two poses."""
    config = default_config()
    config.input.num_poses = 2
    claim_workdir(epath.Path(tmp_path / "run"), resolve(config), ("calves",), 2.0, num_clips=3, step=None)
    return tmp_path / "run"


def test_without_a_configuration_that_of_the_run_is_used(run):
    given = f"--config={run / CONFIG}"
    for workdir in ([f"--workdir={run}"], [f"-workdir={run}"], ["--workdir", str(run)]):
        arguments = ["main", *workdir, "--mode=eval", "--config.eval.num_views=2"]
        assert with_run_config(arguments) == ["main", given, *arguments[1:]]


@pytest.mark.parametrize(
    "arguments", [["--config=a.py"], ["--config", "a.py"], ["--help"], ["--helpfull"]], ids=" ".join
)
def test_a_given_configuration_and_help_stay(run, arguments):
    arguments = ["main", f"--workdir={run}", *arguments]
    assert with_run_config(arguments) == arguments


def test_commands_without_a_workdir_stay():
    assert with_run_config(["main", "--topology=v5e:2x2"]) == ["main", "--topology=v5e:2x2"]


def test_a_workdir_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"mistyped: no run here, and no --config: name the workdir of a run, or pass"):
        with_run_config(["main", f"--workdir={tmp_path / 'mistyped'}", "--config.eval.num_views=2"])
    assert not list(tmp_path.iterdir())


def test_the_configuration_of_a_run_is_read_by_its_path_and_keys_can_be_changed(run, monkeypatch):
    arguments = ["main", f"--config={run / CONFIG}", "--config.input.num_persons=1"]
    monkeypatch.setattr("sys.argv", arguments)  # where ml_collections looks for keys
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values)
    values["config"].parser = flags.FLAGS["config"].parser
    values(arguments)
    spec = resolve(config.value)
    assert (spec.input.num_poses, spec.input.num_persons) == (2, 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("README.md", "# Title\nIt's here.\n", "README.md: expected a Python file, whose name ends in .py"),
        ("video.mp4", "\0", "video.mp4: expected a Python file"),
        ("broken.py", "x = 1\ndef get_config(:\n", "broken.py, line 2: SyntaxError: invalid syntax"),
        ("broken.py", "x = '\0'\n", "broken.py: SyntaxError: source code string cannot contain null bytes"),
        (
            "broken.py",
            "def get_config():\n    return int('four')\n",
            "broken.py, line 2: ValueError: invalid literal for",
        ),
        ("broken.py", "x = 1\n", "broken.py: AttributeError: module 'config_config' has no attribute 'get_config'"),
    ],
)
def test_a_file_that_is_no_configuration_is_named_with_the_line(tmp_path, monkeypatch, name, text, message):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # where ml_collections leaves an earlier one
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        parse_config(str(tmp_path / name), {})
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("foo.bar", "1", "unknown key 'foo'"),
        ("train.batchsize", "4", "unknown key 'batchsize': did you mean"),
        ("train.batch_size.a", "4", "unknown key"),
        ("train.batch_size", "four", "flag --config.train.batch_size=four"),
    ],
)
def test_an_unknown_key_is_called_so(key, value, message):
    with pytest.raises(UserError, match=f"^{message}.*config.py and --help list the keys"):
        parse_config("hdgcn:smoke", {key: value})


def test_none_is_none_where_a_key_may_be_none():
    keys = ("num_tokens", "backbones.hdgcn.centre", "backbones.hdgcn.strided_units")
    model = resolve(parse_config("hdgcn:smoke", {f"model.{key}": "None" for key in keys})).model
    hdgcn = model.backbones["hdgcn"]
    assert (model.num_tokens, hdgcn.centre, hdgcn.strided_units) == (None, None, None)


def test_none_is_refused_where_a_number_is_needed():
    with pytest.raises(UserError, match=r"config\.train\.batch_size: expected int, got None"):
        resolve(parse_config("hdgcn:smoke", {"train.batch_size": "None"}))
