"""Prepares the data set without TensorFlow: the twin of the ``tfds build`` command, and what the main job calls.

python -m tfds_musclemap.prepare --config=multimodal --raw_dir=FOLDER --data_dir=data
python -m tfds_musclemap.prepare --config=synthetic --data_dir=data
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from musclemap_jax.data.raw.flow import METHODS
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.synthetic.spec import SyntheticSpec
from tfds_musclemap.build.beam_build import check_beam
from tfds_musclemap.build.builder_config import CLIP_FIELDS, MuscleMapConfig
from tfds_musclemap.build.clip_reader import MODALITIES
from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder
from tfds_musclemap.source import ClipSource

OVERRIDES: tuple[str, ...] = (*CLIP_FIELDS, "synthetic")
"""Fields of MuscleMapConfig that change the prepared data; other values than the config's give it another folder."""


def prepare(
    config: str,
    data_dir: str | os.PathLike | None = None,
    raw_dir: str | os.PathLike | None = None,
    *,
    num_workers: int | None = None,
    max_rejected_fraction: float | None = None,
    beam_pipeline_options: Sequence[str] = (),
    **overrides: Any,
) -> Builder:
    """Builds the prepared data (ArrayRecord) if it is absent, and prints a last line with counts when it did.

    Processes may call it at the same time: one builds, the others wait for it. An interrupted build starts again.

    Args:
      config: name of a builder config, see ``builder_config.CONFIGS``.
      data_dir: where TFDS data sets lie; by default TFDS's own (``~/tensorflow_datasets``).
      raw_dir: the raw data set; not needed for the synthetic configs, nor when the prepared data is there. If it is
        given and there, the prepared data must have been made of the same annotations.
      num_workers: processes that decode, by default the CPUs that this process may use; the bytes do not depend on it.
      max_rejected_fraction: see MuscleMapConfig; by default that of the config.
      beam_pipeline_options: options of Apache Beam, such as ``runner=DirectRunner``; if there are any, it builds by
        Beam and not by worker processes.
      **overrides: other values for the fields in OVERRIDES.

    Returns:
      The TFDS builder, prepared.

    Raises:
      UserError: unknown config or override, absent raw data set, faults of its annotations, too little disk, too many
        clips rejected, or prepared data that was made of something else.
    """
    builder = Builder(
        config=_configuration(config, overrides),
        data_dir=epath.Path(data_dir).expanduser() if data_dir else None,
        num_workers=num_workers,
        max_rejected_fraction=max_rejected_fraction,
    )
    download_config = tfds.download.DownloadConfig(
        manual_dir=epath.Path(raw_dir).expanduser() if raw_dir else None,
        try_download_gcs=False,
        beam_options=_beam_options(beam_pipeline_options),
    )
    builder.download_and_prepare(download_config=download_config)
    return builder


def load_source(prepared: tfds.core.DatasetBuilder | str | os.PathLike, split: str) -> ClipSource:
    """Random access to the prepared clips of a split, frames still JPEG bytes.

    Args:
      prepared: what ``prepare`` returned, or the folder of the prepared data
        (``<data_dir>/musclemap/<config>/<version>``).
      split: one of ``taxonomy.SPLITS``.

    Raises:
      UserError: no prepared data there, or no clips in that split.
    """
    folder = prepared.data_path if isinstance(prepared, tfds.core.DatasetBuilder) else prepared
    return ClipSource(folder, split)


def _configuration(name: str, overrides: dict[str, Any]) -> str | MuscleMapConfig:
    """The builder's config of that name; with overrides that differ from it, one with a name of its own."""
    configs = {config.name: config for config in Builder.BUILDER_CONFIGS}
    if name not in configs:
        raise UserError(f"builder config: expected one of {', '.join(configs)}, got {name!r}")
    unknown = [field for field in overrides if field not in OVERRIDES]
    if unknown:
        raise UserError(f"builder config {name}: expected fields {', '.join(OVERRIDES)}, got {unknown[0]!r}")
    if "modalities" in overrides:
        overrides = overrides | {"modalities": tuple(overrides["modalities"])}
    config = configs[name]
    changed = {field: value for field, value in overrides.items() if value != getattr(config, field)}
    if not changed:
        return name
    parts = [f"{field}-{_path_part(changed[field])}" for field in sorted(changed)]
    fields = {field: changed.get(field, getattr(config, field)) for field in (*OVERRIDES, "max_rejected_fraction")}
    return MuscleMapConfig(name="-".join((name, *parts)), description=config.description, **fields)


def _beam_options(options: Sequence[str]) -> Any:
    """Apache Beam's PipelineOptions, or None where no option is given."""
    if not options:
        return None
    check_beam()
    from apache_beam.options.pipeline_options import PipelineOptions  # an extra

    return PipelineOptions(flags=[f"--{option}" for option in options])


def _path_part(value: Any) -> str:
    """A value as part of a folder's name: itself, or a digest of a spec."""
    if isinstance(value, tuple):
        return "_".join(value)
    if isinstance(value, SyntheticSpec):
        return hashlib.sha256(value.to_json().encode()).hexdigest()[:8]
    return "".join(character if character.isalnum() else "_" for character in str(value))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tfds_musclemap.prepare", description=__doc__.splitlines()[0])
    names = [config.name for config in Builder.BUILDER_CONFIGS]
    parser.add_argument("--config", required=True, choices=names, help="builder config")
    parser.add_argument("--data_dir", help="folder of the TFDS data sets (default: TFDS's own)")
    parser.add_argument("--raw_dir", help="raw folder: annotations.csv, clips/, skeletons/ (not for synthetic)")
    parser.add_argument("--num_workers", type=int, help="processes that decode (default: all CPUs)")
    parser.add_argument("--max_rejected_fraction", type=float, help="share of clips past which the build fails (0.05)")
    parser.add_argument(
        "--beam_pipeline_options",
        type=_names,
        help="build by Apache Beam: its options joined by commas, as in runner=DirectRunner,direct_num_workers=2",
    )
    parser.add_argument("--modalities", type=_names, help=f"joined by commas, some of {', '.join(MODALITIES)}")
    parser.add_argument("--flow_method", help=f"where there are no flow files: {' or '.join(METHODS)} (dis)")
    parser.add_argument("--flow_bound", type=float, help="pixels a frame that 8-bit flow reaches to (20)")
    parser.add_argument("--skeleton_layout", help="joint order of the skeleton files (coco17)")
    parser.add_argument(
        "--require_skeleton",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="reject clips without a skeleton (the default)",
    )
    parser.add_argument("--short_side", type=int, help="pixels of the stored frames' short side (256)")
    parser.add_argument("--jpeg_quality", type=int, help="1 to 100 (90)")
    parser.add_argument("--max_persons", type=int, help="persons kept a clip (10)")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, 2 when the input is at fault."""
    arguments = {name: value for name, value in vars(_parser().parse_args(argv)).items() if value is not None}

    def run() -> None:
        builder = prepare(**arguments)
        print(f"prepared data: {builder.data_path}")

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
