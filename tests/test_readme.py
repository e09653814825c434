"""The README's commands and links: modules answer --help, configurations are valid, files exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from musclemap_jax.experiment.config import resolve

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
MODULES = sorted({command[2] for command in COMMANDS if command[:2] == ["python", "-m"] and command[2] != "venv"})
RUNS = [command for command in COMMANDS if command[:3] == ["python", "-m", "musclemap_jax.main"]]


def test_there_are_commands():
    assert {"musclemap_jax.main", "musclemap_jax.synthetic", "tfds_musclemap.prepare"} <= set(MODULES)
    assert len(RUNS) >= 4


@pytest.mark.parametrize("module", MODULES)
def test_every_command_answers_help(module):
    process = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    # absl's --help ends with status 1.
    assert process.returncode == (1 if "--helpfull" in process.stdout else 0), process.stderr
    written = {option.partition("=")[0] for command in COMMANDS if command[2:3] == [module] for option in command[3:]}
    # Overrides of configuration keys are checked below.
    expected = {option for option in written if option.startswith("--") and "." not in option}
    assert all(option in process.stdout for option in expected or {"--config"}), expected


@pytest.mark.parametrize("command", RUNS, ids=" ".join)
def test_every_run_of_the_main_job_has_a_valid_configuration(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    # config_flags looks for overrides in sys.argv.
    arguments = ["main", *command[3:]]
    monkeypatch.setattr(sys, "argv", arguments)
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_string("mode", "train_and_eval", "", flag_values=values)
    values(arguments)
    spec = resolve(config.value)
    assert values["workdir"].value
    assert spec.train.batch_size > 0


@pytest.mark.parametrize(
    ("target", "command"), [("demo", "musclemap_jax.main"), ("test", "pytest"), ("docs", "mkdocs build --strict")]
)
def test_make_knows_its_targets(target, command):
    plan = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert command in plan
    assert f"make {target}" in README


def test_links_lead_to_files_and_to_every_page_of_the_documentation():
    links = {link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("https://")}
    assert [link for link in links if not (ROOT / link).exists()] == []
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
    assert pages <= links


def test_the_paper_is_linked_and_cited():
    assert "](https://arxiv.org/abs/2303.00952)" in README
    (entry,) = re.findall(r"```bibtex\n(.*?)```", README, re.DOTALL)
    assert entry == (ROOT / "tfds_musclemap" / "musclemap" / "CITATIONS.bib").read_text()
