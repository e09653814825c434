"""The paper's model at full size with random weights, as a model folder that prediction loads.

    python -m benchmarks.full_size FOLDER

Sizes and views are those of configs/transm3e.py. A window is as long as a view of the training clips, at 30 fps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax

from configs.transm3e import get_config
from musclemap_jax.data.examples import empty_batch
from musclemap_jax.experiment.config import resolve
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.predict.model_folder import StoredModel, save_model
from musclemap_jax.taxonomy import MUSCLE_REGIONS

FPS = 30.0


def write_full_size_model(folder: Path) -> None:
    """Writes the model folder; its weights are those with which training starts."""
    spec = resolve(get_config())
    batch = empty_batch(spec.input, 1, 1)
    module = TransM3E(spec.model)
    variables = jax.jit(lambda key: module.init(key, batch, train=False))(jax.random.key(0))
    window_s = spec.input.num_frames * spec.input.frame_stride / FPS
    name = "TransM3E at full size, random weights"
    save_model(folder, StoredModel(name, spec, MUSCLE_REGIONS, window_s, jax.device_get(variables), None))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_size", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model folder to write")
    write_full_size_model(parser.parse_args().folder)


if __name__ == "__main__":
    main()
