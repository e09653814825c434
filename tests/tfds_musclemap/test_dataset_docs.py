"""The commands in docs/dataset.md: options and names that are written there exist."""

from __future__ import annotations

import importlib
import re

import pytest

from musclemap_jax.data.modalities import MODALITIES
from tests.conftest import ROOT
from tests.documented_commands import python_commands
from tfds_musclemap.build.builder_config import CONFIGS
from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder

PAGE = ROOT / "docs" / "dataset.md"
DOCS = PAGE.read_text()
COMMANDS = python_commands(PAGE)


def test_every_module_and_config_is_described():
    assert {command[2] for command in COMMANDS} == {"tfds_musclemap.prepare", "tfds_musclemap.verify"}
    assert all(f"`{config.name}`" in DOCS for config in CONFIGS)


def test_modalities_and_version_are_those_of_the_builder():
    (modalities,) = re.findall(r"--modalities=([\w,]+)", DOCS)
    assert set(modalities.split(",")) <= set(MODALITIES)
    assert set(re.findall(r"musclemap/\w+/([\d.]+)", DOCS)) == {str(Builder.VERSION)}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_exists(command):
    module = importlib.import_module(command[2])
    if hasattr(module, "__path__"):  # a package: its command is __main__
        module = importlib.import_module(f"{command[2]}.__main__")
    arguments = module._parser().parse_args(command[3:])
    if options := getattr(arguments, "beam_pipeline_options", None):
        assert options[0].startswith("runner=")


def test_options_of_the_text_are_those_of_prepare(capsys):
    with pytest.raises(SystemExit):
        importlib.import_module("tfds_musclemap.prepare").main(["--help"])
    known = capsys.readouterr().out
    named = set(re.findall(r"`(--(?:no-)?[a-z_]+)", DOCS)) - {"--config"}
    assert len(named) > 8
    assert [option for option in named if option not in known] == []
