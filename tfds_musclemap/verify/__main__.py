"""Verifies a prepared data set: reads all of it, describes it and reports what is wrong with it.

python -m tfds_musclemap.verify --data_dir=data

Writes dataset.json, modalities.png (one clip in four modalities, as the paper's Fig. 1) and regions.png (clips and
activities per muscle region, as its Fig. 2). Exit status: 0 if nothing is wrong, 1 if there are faults, 2 if there is
no data to verify.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.runtime.worker_pool import num_cpus
from tfds_musclemap.verify.prepared import find_data_sets
from tfds_musclemap.verify.report import VERIFICATION, table, verify


def _parser() -> Parser:
    parser = Parser(prog="python -m tfds_musclemap.verify", description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="folder of the TFDS data sets, or of one prepared data set")
    parser.add_argument("--config", help="builder config (default: all that were prepared)")
    parser.add_argument("--out", help="folder of the report (default: verification/ next to the records)")
    parser.add_argument("--num_workers", type=int, default=num_cpus(), help="processes (default: all CPUs)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""

    def run() -> int:
        arguments = _parser().parse_args(expand_home(argv))
        if arguments.num_workers < 1:
            raise UserError(f"--num_workers: expected at least 1, got {arguments.num_workers}: omit it for all CPUs")
        status = 0
        folders = find_data_sets(arguments.data_dir, arguments.config)
        for folder in folders:
            out = Path(arguments.out) if arguments.out else folder / VERIFICATION
            if arguments.out and len(folders) > 1:
                out = out / folder.parent.name / folder.name
            report = verify(folder, out, arguments.num_workers)
            print(table(report))
            verdict = f"{len(report['faults'])} faults" if report["faults"] else "nothing wrong"
            print(f"{verdict}; {out}\n")
            status = 1 if report["faults"] else status
        return status

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
