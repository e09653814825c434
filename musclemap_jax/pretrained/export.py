"""Writes our weights as safetensors under published names, for users of PyTorch.

    python -m musclemap_jax.pretrained.export --source=DIR --branch=video --out=weights.safetensors

`DIR` is an import's folder or the workdir of a run. With `--branch`, or if there is only one branch, that branch and
its head are exported under the names of the code that published its backbone, MViTv2's under PySlowFast's; otherwise a
model of two MViTv2 branches is exported whole under the names of TransM3E's released code. To read the file:
`model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util
from safetensors.numpy import save

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.checkpoints.trained import is_workdir, load_trained
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.pretrained.architectures import NAMES
from musclemap_jax.pretrained.mvit_names import pyslowfast_entries
from musclemap_jax.pretrained.published import Entry, Path
from musclemap_jax.pretrained.result import VARIABLES, Tree, load_initial, read_report
from musclemap_jax.storage.files import replace_bytes
from musclemap_jax.storage.json_files import read_json_object

RUN_CONFIG = "config.json"
"""A run's configuration in its workdir."""


def published_arrays(
    variables: Tree, branch: str | None = None, backbones: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> dict[str, np.ndarray]:
    """Brings our variables under published names; importing them again gives exactly the same arrays.

    Args:
      variables: {"params": ..., "batch_stats": ...} of `TransM3E`.
      branch: A branch to export with its head and, of MViTv2, its fusion (MCTF and receiver tokens under the released
        code's names). None exports the only branch, or two of MViTv2 under the released code's names.
      backbones: The stored architectures {backbone: {field: value}}, on which published names may depend.

    Returns:
      {published name: contiguous array in PyTorch's layout}.

    Raises:
      UserError: The branch is absent, or the published models have no such parameters.
    """
    paths = traverse_util.flatten_dict({name: variables.get(name) or {} for name in VARIABLES})
    present = [name for name in BRANCHES if name in variables["params"]]
    if branch is None and len(present) == 1:
        (branch,) = present
    if branch is not None:
        parts = (branch, f"head_{branch}", f"fusion_{branch}")
        paths = {path: leaf for path, leaf in paths.items() if path[1] in parts}
        if not paths:
            raise UserError(f"branch {branch!r}: not in these weights, which have {', '.join(present)}")
    arrays: dict[str, np.ndarray] = {}
    for path, leaf in paths.items():
        try:
            entries = _entries(path, branch, backbones)
        except KeyError as error:
            raise UserError(
                f"{'/'.join(path)}: no published model has such a parameter: MViTv2 branches can be exported, and "
                f"without class tokens those of {', '.join(NAMES)}: name one by --branch"
            ) from error
        leaf = np.asarray(leaf)
        if math.prod(leaf.shape[: len(entries[0].index)]) != len(entries):
            raise UserError(
                f"{'/'.join(path)}: expected {len(entries)} layers, got shape {leaf.shape}: the weights are damaged"
            )
        for entry in entries:
            if entry.source in arrays:
                raise UserError(f"{entry.source}: in two branches: name one by --branch")
            arrays[entry.source] = np.ascontiguousarray(entry.transform.backward(leaf[entry.index]))  # ty: ignore[not-callable]  # exported names have one
    return arrays


def _entries(path: Path, branch: str | None, backbones: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    """The published arrays of a variable; KeyError if there are none."""
    backbone = BRANCHES[branch].backbone.name if branch else ""
    if backbone in NAMES:
        return NAMES[backbone](backbones.get(backbone, {})).entries(path)
    return pyslowfast_entries(path, released=branch is None)


def _stored_backbones(source: epath.PathLike) -> Mapping[str, Mapping[str, Any]]:
    """Architectures by backbone, of a run or of an import."""
    if is_workdir(source):
        return read_json_object(epath.Path(source) / RUN_CONFIG, "choose another --source")["model"]["backbones"]
    return read_report(source)["model"]["backbones"]


def export(source: epath.PathLike, out: epath.PathLike, branch: str | None = None) -> dict[str, np.ndarray]:
    """Writes the safetensors file and returns its arrays; `branch` and errors as in `published_arrays`.

    `source` is an import's folder or a run's workdir: its best checkpoint, the moving average where there is one. Both
    may be on cloud storage.
    """
    variables = load_trained(source) if is_workdir(source) else load_initial(source)
    arrays = published_arrays(variables, branch, _stored_backbones(source))
    out = epath.Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(out, save(arrays, metadata={"format": "pt"}))
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from error
    return arrays


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 2 for a user error."""

    def body() -> None:
        parser = Parser(prog="python -m musclemap_jax.pretrained.export", description=__doc__.split("\n")[0])
        parser.add_argument("--source", required=True, metavar="DIR", help="folder of an import or workdir of a run")
        parser.add_argument("--out", required=True, metavar="FILE", help="the .safetensors file to write")
        parser.add_argument("--branch", help="export this branch alone (default: all)")
        args = parser.parse_args(expand_home(arguments))
        arrays = export(args.source, args.out, args.branch)
        print(f"{args.out}: {len(arrays)} arrays, {sum(array.size for array in arrays.values()):,} numbers")

    return exit_on_user_error(body)


if __name__ == "__main__":
    sys.exit(main())
