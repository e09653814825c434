"""Installs a local checkout of Google's Scenic for the bridge (docs/scenic.md).

    git clone https://github.com/google-research/scenic
    git -C scenic checkout 4a38d475ee89cb821078c0e2bf2065ee030e1535
    python tools/install_scenic.py scenic

Scenic's own requirements would replace Optax by its newest commit and bring the whole of TensorFlow; the checkout is
therefore installed without them, in place, beside the versions that this project needs, with those that the bridge uses
(the extra `scenic`). The commit is the one that the bridge is tested with; another one is installed with a warning.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def tested_commit() -> str:
    """The commit that the bridge is tested with."""
    source = (ROOT / "musclemap_jax" / "scenic_bridge" / "installed.py").read_text()
    (commit,) = re.findall(r'^COMMIT = "(\w+)"$', source, re.MULTILINE)
    return commit


def commit_of(checkout: Path) -> str | None:
    """The commit of a git checkout; None for a folder without git's own, such as an unpacked archive."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    process = subprocess.run(command, capture_output=True, text=True)
    return process.stdout.strip() if process.returncode == 0 else None


def main() -> int:
    """Installs; returns the exit status, 2 for a folder that is no checkout."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkout", type=Path, help="folder with Scenic's setup.py")
    checkout = parser.parse_args().checkout
    if not (checkout / "scenic" / "train_lib" / "classification_trainer.py").is_file():
        print(f"error: {checkout}: not a checkout of Scenic: git clone {'https://github.com/google-research/scenic'}")
        return 2
    commit, tested = commit_of(checkout), tested_commit()
    if commit != tested:
        print(
            f"warning: {checkout} is at {commit or 'an unknown commit'}; the bridge is tested at {tested}", flush=True
        )
    pip = [sys.executable, "-m", "pip", "install"]
    subprocess.run([*pip, "-e", f"{ROOT}[scenic]"], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(checkout)], check=True)
    subprocess.run([sys.executable, "-c", "from scenic.train_lib import classification_trainer"], check=True)
    print(f"Scenic is installed from {checkout}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
