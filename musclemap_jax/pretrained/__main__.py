"""Imports a published checkpoint into a folder for a configuration's `init_from`.

    python -m musclemap_jax.pretrained --source=MViTv2_S_16x4_k400.pyth --arch=mvitv2_s --out=weights/mvitv2_s_k400

PyTorch is not needed, and no code in the file is executed. The report of every array is printed and written beside the
result. Whoever imports a file is responsible for its origin and licence.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import exit_on_user_error
from musclemap_jax.pretrained.architectures import ARCHITECTURES, make_architecture
from musclemap_jax.pretrained.arguments import pattern, sizes
from musclemap_jax.pretrained.importing import import_file
from musclemap_jax.pretrained.result import save_initial


def _parser() -> Parser:
    parser = Parser(prog="python -m musclemap_jax.pretrained", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--source", required=True, metavar="FILE", help="file of torch.save, safetensors or Flax, also gs://"
    )
    parser.add_argument("--arch", required=True, help=f"one of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    prefix_help = "beginning of the names of the wanted copy of the model, such as model_ema (default: found by itself)"
    parser.add_argument("--prefix", default="", metavar="NAME", help=prefix_help)
    ignore_help = "leave out the file's arrays whose names this regular expression is found in; may be given again"
    parser.add_argument("--ignore", type=pattern, action="append", default=[], metavar="PATTERN", help=ignore_help)
    video = parser.add_argument_group("MViTv2")
    video.add_argument("--num_tokens", type=int, help="class tokens of our model (default: the published number)")
    sizes_help = "clip size for the relative position tables (default: as published)"
    video.add_argument("--input_size", type=sizes, metavar="T,H,W", help=sizes_help)
    skeleton = parser.add_argument_group("skeleton networks")
    skeleton.add_argument("--layout", help="skeleton layout of our model (default: as published)")
    skeleton.add_argument("--from_layout", help="skeleton layout of the weights (default: as published)")
    skeleton.add_argument("--centre", help="joint that HD-GCN's levels start from (default: the layout's)")
    skeleton.add_argument("--num_persons", type=int, help="persons of the input norm, the first of theirs (default: 2)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 2 for a user error."""

    def body() -> None:
        options = vars(_parser().parse_args(expand_home(arguments)))
        source, arch, out, prefix = (options.pop(name) for name in ("source", "arch", "out", "prefix"))
        ignored = tuple((each, f"--ignore={each}") for each in options.pop("ignore"))
        architecture = make_architecture(arch, **options)
        architecture = dataclasses.replace(architecture, ignored=(*architecture.ignored, *ignored))
        arrays, report = import_file(source, architecture, prefix)
        save_initial(out, arrays, report, architecture)
        print(f"{report.text()}\nwritten to {out}")

    return exit_on_user_error(body)


if __name__ == "__main__":
    sys.exit(main())
