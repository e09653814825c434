"""Stands for the main job: copies the template of a run to its workdir, and can fail or wait for a signal.

    python fake_job.py TEMPLATES --config=... --workdir=RUNS/ROW/seed_N --stopped_status=75

TEMPLATES/ROW/seed_N is what the run leaves. A file `fail` in it holds the last words of a run that fails with status 3;
with a file `wait` the run waits to be stopped. The run's environment is kept in `environment.json`.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

templates = Path(sys.argv[1])
options = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[2:])
workdir = Path(options["workdir"])
template = templates / workdir.parent.name / workdir.name


def stop(number, frame):
    """Ends as a run that was asked to stop, at once if it is asked again by Ctrl-C."""
    if number == signal.SIGINT:
        os._exit(130)
    (workdir / "saved").touch()
    if not (template / "stubborn").exists():
        os._exit(int(options["stopped_status"]))


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
(workdir / "environment.json").write_text(json.dumps(dict(os.environ)))
print("first line", flush=True)
if (template / "fail").exists():
    print(f"{(template / 'fail').read_text()}\n\n", file=sys.stderr, end="")
    sys.exit(3)
(workdir / "started").touch()
while (template / "wait").exists():
    time.sleep(0.01)
shutil.copytree(template, workdir, dirs_exist_ok=True)
print("last line")
