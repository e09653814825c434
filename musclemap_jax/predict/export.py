"""Exports a trained model as one file that runs with JAX alone (`jax.export`, StableHLO).

    python -m musclemap_jax.predict.export --run=runs/demo --out=model.jax

The file serves CPUs, CUDA GPUs and TPUs, and any number of clips. `model.json` next to it describes the inputs and
outputs; with `--weights=beside` the weights are in `model.safetensors`. docs/export.md has a loader of a few lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.storage.files import UNFINISHED, is_remote

PLATFORMS = ("cpu", "cuda", "tpu")
WEIGHTS = ("inside", "beside")
LABEL_KEYS = ("muscles", "clip_valid", "clip_index")


def export_model(run: str | os.PathLike | None, path: str | os.PathLike, weights: str = "inside") -> list[Path]:
    """Writes a model's forward pass.

    The exported function takes `inputs`, {name: array (B, ...)} as `model.json` lists them, and returns {"logits":
    (B, K) float32, "logits_<branch>": (B, K)}. With weights beside, it takes (weights, inputs), where `weights` is
    {name: array} of the safetensors file.

    Args:
      run: As in `predict.model.load`.
      path: The file to write.
      weights: `inside` the file, or `beside` it.

    Returns:
      The files written.

    Raises:
      UserError: There is no such model, an argument is invalid, or the files cannot be written.
    """
    import jax
    import numpy as np
    from flax import traverse_util
    from safetensors.numpy import save

    from musclemap_jax.experiment.program import batch_shapes
    from musclemap_jax.models.branches import Batch
    from musclemap_jax.predict.model import load

    if weights not in WEIGHTS:
        raise UserError(f"--weights: expected one of {', '.join(WEIGHTS)}, got {weights!r}")
    path = _checked_path(path)
    model = load(run)
    flat = traverse_util.flatten_dict(model.variables, sep="/")

    def forward(weights: Mapping[str, jax.Array], inputs: Batch) -> dict[str, jax.Array]:
        variables = {"batch_stats": {}} | traverse_util.unflatten_dict(dict(weights), sep="/")
        output: Any = model.module.apply(variables, inputs, train=False)
        return {"logits": output.logits} | {f"logits_{name}": each for name, each in output.branch_logits.items()}

    (num_clips,) = jax.export.symbolic_shape("b")
    shapes = {
        name: jax.ShapeDtypeStruct((num_clips, *shape.shape[1:]), shape.dtype)
        for name, shape in batch_shapes(model.input, 1, model.input.views_per_clip).items()
        if name not in LABEL_KEYS
    }
    if weights == "inside":
        constants = jax.device_get(flat)
        function, arguments = jax.jit(lambda inputs: forward(constants, inputs)), (shapes,)
    else:
        function = jax.jit(forward)
        arguments = ({name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in flat.items()}, shapes)
    exported = jax.export.export(function, platforms=PLATFORMS)(*arguments)
    described = {name: {"shape": list(map(str, each.shape)), "dtype": str(each.dtype)} for name, each in shapes.items()}
    description = {
        "regions": list(model.regions),
        "inputs": described,
        "outputs": ["logits", *(f"logits_{name}" for name in model.spec.model.weights)],
        "platforms": list(PLATFORMS),
        "weights": weights,
    }
    files = {
        path: bytes(exported.serialize()),
        path.with_suffix(".json"): f"{json.dumps(description, indent=1)}\n".encode(),
    }
    if weights == "beside":
        files[path.with_suffix(".safetensors")] = save({name: np.asarray(leaf) for name, leaf in flat.items()})
    _write(files)
    return list(files)


def _checked_path(path: str | os.PathLike) -> Path:
    """The file to write; refuses what the files beside it would replace."""
    if is_remote(path):
        raise UserError(f"{path}: expected a local file: copy the files to the cloud afterwards")
    path = Path(path)
    description, weights = path.with_suffix(".json"), path.with_suffix(".safetensors")
    if path in (description, weights):
        raise UserError(f"{path}: the description and the weights have this suffix: choose another, such as model.jax")
    if description.exists() and '"platforms"' not in description.read_text(errors="replace"):
        raise UserError(f"{description}: exists and does not describe an exported model: choose another --out")
    return path


def _write(files: Mapping[Path, bytes]) -> None:
    """Writes files whole, the first one last: where it is there, the others are too."""
    for path, content in reversed(list(files.items())):
        unfinished = path.with_name(path.name + UNFINISHED)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise UserError(f"{path}: cannot be written: {error.strerror or error}: choose another --out") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = Parser(prog="python -m musclemap_jax.predict.export", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", help="a run's workdir, an imported checkpoint or a model folder (the shipped model)")
    parser.add_argument("--out", required=True, help="the file to write, such as model.jax")
    parser.add_argument("--weights", choices=WEIGHTS, default="inside", help="where the weights go (inside)")

    def run() -> None:
        arguments = parser.parse_args(expand_home(argv))
        for path in export_model(arguments.run, arguments.out, arguments.weights):
            print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")

    return exit_on_user_error(run)


if __name__ == "__main__":
    sys.exit(main())
