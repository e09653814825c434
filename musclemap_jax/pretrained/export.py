"""Writes our weights as safetensors under published names, for users of PyTorch.

    python -m musclemap_jax.pretrained.export --source=DIR --branch=video --out=weights.safetensors

`DIR` is an import's folder or the workdir of a run. With `--branch`, or if there is only one branch, that MViTv2 branch
and its head are exported under PySlowFast's names; otherwise a model of two MViTv2 branches is exported whole under the
names of TransM3E's released code. To read the file:
`model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from etils import epath
from flax import traverse_util
from safetensors.numpy import save

from musclemap_jax.arguments import expand_home
from musclemap_jax.checkpoints.trained import is_workdir, load_trained
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.pretrained.arguments import Parser
from musclemap_jax.pretrained.mvit_names import pyslowfast_entries
from musclemap_jax.pretrained.result import Tree, load_initial
from musclemap_jax.storage.files import replace_bytes


def published_arrays(variables: Tree, branch: str | None = None) -> dict[str, np.ndarray]:
    """Brings our variables under published names; importing them again gives exactly the same arrays.

    Args:
      variables: {"params": ...} of `TransM3E`.
      branch: An MViTv2 branch to export with its head and fusion under PySlowFast's names (MCTF and receiver tokens
        under the released code's). None exports the only branch, or both under the released code's names.

    Returns:
      {published name: contiguous array in PyTorch's layout}.

    Raises:
      UserError: The branch is absent, or the published models have no such parameters.
    """
    paths = traverse_util.flatten_dict({"params": variables["params"]})
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
            entries = pyslowfast_entries(path, released=branch is None)
        except KeyError as error:
            raise UserError(
                f"{'/'.join(path)}: PySlowFast's models have no such parameter: only MViTv2 branches can be exported: "
                "name one by --branch"
            ) from error
        leaf = np.asarray(leaf)
        if entries[0].index and leaf.shape[:1] != (len(entries),):
            raise UserError(
                f"{'/'.join(path)}: expected {len(entries)} layers, got shape {leaf.shape}: the weights are damaged"
            )
        for entry in entries:
            if entry.source in arrays:
                raise UserError(f"{entry.source}: in two branches: name one by --branch")
            arrays[entry.source] = np.ascontiguousarray(entry.transform.backward(leaf[entry.index]))  # ty: ignore[not-callable]  # exported names have one
    return arrays


def export(source: epath.PathLike, out: epath.PathLike, branch: str | None = None) -> dict[str, np.ndarray]:
    """Writes the safetensors file and returns its arrays; `branch` and errors as in `published_arrays`.

    `source` is an import's folder or a run's workdir: its best checkpoint, the moving average where there is one. Both
    may be on cloud storage.
    """
    variables = load_trained(source) if is_workdir(source) else load_initial(source)
    arrays = published_arrays(variables, branch)
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
        parser.add_argument("--branch", help="export this MViTv2 branch alone, under PySlowFast's names (default: all)")
        args = parser.parse_args(expand_home(arguments))
        arrays = export(args.source, args.out, args.branch)
        print(f"{args.out}: {len(arrays)} arrays, {sum(array.size for array in arrays.values()):,} numbers")

    return exit_on_user_error(body)


if __name__ == "__main__":
    sys.exit(main())
