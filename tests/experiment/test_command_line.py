"""Where the command line finds a configuration."""

import pytest
from absl import flags
from etils import epath
from ml_collections import config_flags

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.command_line import with_run_config
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
