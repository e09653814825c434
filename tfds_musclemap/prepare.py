"""Prepares the data set without TensorFlow: what the ``tfds build`` command does, and what a training run calls.

python -m tfds_musclemap.prepare --config=multimodal --raw_dir=FOLDER --data_dir=data
python -m tfds_musclemap.prepare --config=synthetic --data_dir=data
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.data.modalities import MODALITIES
from musclemap_jax.data.modalities.modality import ClipSettings
from musclemap_jax.data.raw.flow import METHODS
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.synthetic.spec import SyntheticSpec
from tfds_musclemap.build.beam_build import check_beam
from tfds_musclemap.build.builder_config import MuscleMapConfig
from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder
from tfds_musclemap.source import ClipSource

OVERRIDES: tuple[str, ...] = (*(field.name for field in dataclasses.fields(ClipSettings)), "synthetic")
"""Settings that change the prepared data: values other than the config's give it another folder."""


def prepare(
    config: str,
    data_dir: str | os.PathLike | None = None,
    raw_dir: str | os.PathLike | None = None,
    *,
    num_workers: int | None = None,
    max_rejected_fraction: float | None = None,
    overwrite: bool = False,
    rebuild: bool = False,
    beam_pipeline_options: Sequence[str] = (),
    **overrides: Any,
) -> Builder:
    """Builds the prepared data (ArrayRecord) unless it exists, and then prints a line with the number of clips.

    Processes may call it at the same time: one builds, the others wait for it. After an interruption, the next call
    builds from the beginning.

    Args:
      config: Name of a builder config, see ``builder_config.CONFIGS``.
      data_dir: Folder of the TFDS data sets; by default TFDS's own (``~/tensorflow_datasets``).
      raw_dir: The raw data set; not needed for the synthetic configs, nor where the prepared data exists. If both
        exist, the prepared data must have been made of the same annotations, labels and files.
      num_workers: Processes that decode, by default the CPUs that this process may use; the bytes do not depend on it.
      max_rejected_fraction: See MuscleMapConfig; by default that of the config.
      overwrite: Whether to build the data even if it exists, which is deleted first.
      rebuild: Whether to build existing data again if it is out of date, which is an error otherwise.
      beam_pipeline_options: Options of Apache Beam, such as ``runner=DirectRunner``. If there are any, Beam builds the
        data instead of worker processes.
      **overrides: Other values for the settings in OVERRIDES.

    Returns:
      The TFDS builder, prepared.

    Raises:
      UserError: Unknown config or override, absent raw data set, invalid annotations, too little disk space, too many
        rejected clips, or prepared data that was made of something else.
    """
    builder = Builder(
        config=_configuration(config, overrides),
        data_dir=epath.Path(data_dir).expanduser() if data_dir else None,
        num_workers=num_workers,
        max_rejected_fraction=max_rejected_fraction,
        rebuild=rebuild,
    )
    mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS if overwrite else tfds.GenerateMode.REUSE_DATASET_IF_EXISTS
    download_config = tfds.download.DownloadConfig(
        manual_dir=epath.Path(raw_dir).expanduser() if raw_dir else None,
        download_mode=mode,
        try_download_gcs=False,
        beam_options=_beam_options(beam_pipeline_options),
    )
    builder.download_and_prepare(download_config=download_config)
    return builder


def load_source(prepared: tfds.core.DatasetBuilder | str | os.PathLike, split: str) -> ClipSource:
    """Random access to the prepared clips of a split, with frames as JPEG bytes.

    The data is what ``prepare`` returned, or its folder (``<data_dir>/musclemap/<config>/<version>``). Raises UserError
    if the folder holds no prepared data, or the split has no clips.
    """
    folder = prepared.data_path if isinstance(prepared, tfds.core.DatasetBuilder) else prepared
    return ClipSource(folder, split)


def _configuration(name: str, overrides: dict[str, Any]) -> str | MuscleMapConfig:
    """The builder's config of that name, or one with a name of its own where overrides differ from it."""
    configs = {config.name: config for config in Builder.BUILDER_CONFIGS}
    if name not in configs:
        raise UserError(f"builder config: expected one of {', '.join(configs)}, got {name!r}")
    for field in overrides:
        if field not in OVERRIDES:
            raise UserError(f"builder config {name}: expected settings {', '.join(OVERRIDES)}, got {field!r}")
    if "modalities" in overrides:
        overrides = overrides | {"modalities": tuple(overrides["modalities"])}
    config = configs[name]
    values = vars(config.clip) | {"synthetic": config.synthetic}
    changed = {field: value for field, value in overrides.items() if value != values[field]}
    if not changed:
        return name
    parts = [f"{field}-{_path_part(changed[field])}" for field in sorted(changed)]
    synthetic = changed.pop("synthetic", config.synthetic)
    clip = dataclasses.replace(config.clip, **changed)
    return dataclasses.replace(config, name="-".join((name, *parts)), clip=clip, synthetic=synthetic)


def _beam_options(options: Sequence[str]) -> Any:
    """Apache Beam's PipelineOptions, or None without any option."""
    if not options:
        return None
    check_beam()
    from apache_beam.options.pipeline_options import PipelineOptions  # comes with an extra

    return PipelineOptions(flags=[f"--{option}" for option in options])


def _path_part(value: Any) -> str:
    """A value as part of a folder's name; of a spec, a digest."""
    if isinstance(value, tuple):
        return "_".join(value)
    if isinstance(value, SyntheticSpec):
        return hashlib.sha256(value.to_json().encode()).hexdigest()[:8]
    return "".join(character if character.isalnum() else "_" for character in str(value))


def _parser() -> Parser:
    parser = Parser(prog="python -m tfds_musclemap.prepare", description=__doc__.splitlines()[0])
    names = [config.name for config in Builder.BUILDER_CONFIGS]
    parser.add_argument("--config", required=True, choices=names, help="builder config")
    parser.add_argument("--data_dir", help="folder of the TFDS data sets (default: TFDS's own)")
    parser.add_argument("--raw_dir", help="raw data set: annotations.csv, clips/, skeletons/ (not for synthetic)")
    parser.add_argument("--num_workers", type=int, help="processes that decode (default: all CPUs)")
    parser.add_argument("--max_rejected_fraction", type=float, help="rejected fraction that fails the build (0.05)")
    parser.add_argument("--overwrite", action="store_true", help="build the data even if it exists, which is deleted")
    parser.add_argument(
        "--beam_pipeline_options",
        type=_names,
        help="build by Apache Beam: its options joined by commas, such as runner=DirectRunner,direct_num_workers=2",
    )
    parser.add_argument("--modalities", type=_names, help=f"some of {', '.join(MODALITIES)}, joined by commas")
    parser.add_argument("--flow_method", help=f"how flow is estimated without flow files: {' or '.join(METHODS)} (dis)")
    parser.add_argument("--flow_bound", type=float, help="largest motion in 8-bit flow, pixels per frame (20)")
    parser.add_argument("--skeleton_layout", help="joint order of the skeleton files (coco17)")
    help_text = "reject clips without a skeleton (the default)"
    parser.add_argument("--require_skeleton", action=argparse.BooleanOptionalAction, help=help_text)
    parser.add_argument("--short_side", type=int, help="pixels of the stored frames' short side (256)")
    parser.add_argument("--jpeg_quality", type=int, help="1 to 100 (90)")
    parser.add_argument("--max_persons", type=int, help="persons kept per clip (10)")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, which is 2 for invalid input."""

    def run() -> None:
        arguments = vars(_parser().parse_args(expand_home(argv)))
        given = {name: value for name, value in arguments.items() if value is not None}
        print(f"prepared data: {prepare(**given).data_path}")

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
