"""Predicts many videos on many machines; a run that was interrupted continues with the videos that are left.

    python -m musclemap_jax.predict.corpus --input=VIDEOS --out=RESULTS
    python -m musclemap_jax.predict.corpus --input=list.txt --out=gs://BUCKET/results --shard=3/8

`corpus_files.py` says what is in the folder of the results. The processes of a JAX job share the videos; otherwise
start a process per shard, and then the command without --shard, which tries failed videos again and merges the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from musclemap_jax import __version__
from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.predict.command import (
    add_model_arguments,
    add_person_arguments,
    request_of,
    run_command,
)
from musclemap_jax.predict.corpus_files import Corpus, Shard, write_failed
from musclemap_jax.predict.corpus_prediction import CorpusSettings, load_model, predict_shard
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.output_folder import disk_errors_are_output_errors
from musclemap_jax.runtime.process_exit import exit_process

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model

FAILED_STATUS = 1

_LONGEST_WAIT_S = 30 * 24 * 3600
"""How long a process waits for the others, whose videos may be much longer."""


def _parser() -> Parser:
    parser = Parser(prog="python -m musclemap_jax.predict.corpus", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--input", required=True, metavar="PATH", help="folder of videos, or a list with a path per line"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    add_model_arguments(parser)
    add_person_arguments(parser)
    hosts = parser.add_argument_group("several machines")
    hosts.add_argument("--shard", type=_shard, metavar="I/N", help="predict one of N parts, I from 0 to N-1, and end")
    hosts.add_argument("--coordinator", default="", help="host:port of process 0 (default: from the scheduler)")
    hosts.add_argument("--num_processes", type=int, default=0, help="processes (default: from the scheduler)")
    hosts.add_argument("--process_id", type=int, default=-1, help="this process (default: from the scheduler)")
    hosts.add_argument(
        "--beam_pipeline_options",
        metavar="OPTIONS",
        help="predict by Apache Beam: its options joined by commas, such as runner=DirectRunner",
    )
    return parser


def _shard(text: str) -> Shard:
    index, separator, count = text.partition("/")
    if not separator or not index.isdecimal() or not count.isdecimal() or int(index) >= int(count):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 0 to N-1, such as 3/8, got {text!r}")
    return Shard(int(index), int(count))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, 1 if some videos failed, 2 for a user error."""

    def body() -> int:
        args = _parser().parse_args(expand_home(arguments))
        settings = CorpusSettings(args.run or "", __version__, request_of(args))
        with disk_errors_are_output_errors(args.out):
            corpus = Corpus(args.input, args.out, settings.as_dict())
        if args.beam_pipeline_options is not None:
            _predict_by_beam(corpus, settings, args.beam_pipeline_options)
        elif args.shard is not None:
            return FAILED_STATUS if _predict(corpus, args.shard, settings) else 0
        elif not _predict_among_processes(corpus, settings, args):
            return 0
        with disk_errors_are_output_errors(args.out):
            failed = corpus.merge()
        print(f"{len(corpus.videos)} videos, {len(failed)} without a result: {shown(args.out)}")
        return FAILED_STATUS if failed else 0

    return run_command(body)


def _predict(corpus: Corpus, shard: Shard, settings: CorpusSettings, model: Model | None = None) -> int:
    """Predicts a shard's videos that have no result; returns how many failed."""
    videos = shard.of(corpus.videos)
    missing = corpus.missing(videos)
    failed = predict_shard(model or load_model(settings), corpus, missing, settings) if missing else {}
    with disk_errors_are_output_errors(corpus.out):
        write_failed(corpus.out, str(shard), failed)
    part = "" if shard.count == 1 else f"shard {shard.index} of {shard.count}: "
    done = len(missing) - len(failed)
    print(f"{part}{done} predicted, {len(videos) - len(missing)} done before, {len(failed)} failed", flush=True)
    return len(failed)


def _predict_among_processes(corpus: Corpus, settings: CorpusSettings, args: argparse.Namespace) -> bool:
    """Predicts the part of this JAX process; returns, once all are done, whether it is the one that merges."""
    import jax

    from musclemap_jax.runtime.barrier import barrier
    from musclemap_jax.runtime.startup import ProcessSpec, abandon_processes, finish_processes, start_processes

    peers = start_processes(ProcessSpec(args.coordinator, args.num_processes, args.process_id))
    try:
        first = jax.process_index() == 0
        # Loading may involve all processes, so each of them does it, whether or not it has videos left.
        model = load_model(settings) if jax.process_count() > 1 else None
        _predict(corpus, Shard(jax.process_index(), jax.process_count()), settings, model)
        barrier("corpus", _LONGEST_WAIT_S)
    except Exception as error:
        abandon_processes(error, peers)
        raise
    finish_processes(peers)
    return first


def _predict_by_beam(corpus: Corpus, settings: CorpusSettings, options: str) -> None:
    from tfds_musclemap.build.beam_build import check_beam

    check_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    from musclemap_jax.predict.corpus_beam import predict_by_beam

    flags = [f"--{option.strip()}" for option in options.split(",") if option.strip()]
    predict_by_beam(corpus, settings, PipelineOptions(flags=flags))


if __name__ == "__main__":
    exit_process(main())
