"""Writes the shipped model, the one that `load()` returns, from a run on rendered people.

    python -m musclemap_jax.main --config=configs/transm3e_plus.py:synthetic --workdir=runs/plus
    python -m musclemap_jax.predict.ship --run=runs/plus

The folder is a model folder (`model_folder.py`) with a model card. The card's metrics are those of the weights as they
are stored, in float16, on the data of the run.
"""

from __future__ import annotations

import dataclasses
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jinja2
import numpy as np

from musclemap_jax import __version__
from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.experiment.config import DataSpec
from musclemap_jax.experiment.prepared_data import PreparedData, load_data
from musclemap_jax.experiment.setup import set_up
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.predict.command import run_command
from musclemap_jax.predict.model_folder import MODEL, SHIPPED, WEIGHTS, StoredModel, read_model, save_model
from musclemap_jax.predict.stored_margins import UNUSED
from musclemap_jax.reporting.tables import headline_table
from musclemap_jax.taxonomy import EVAL_SPLITS

CARD = "MODEL_CARD.md"
MAX_BYTES = 4 * 10**6
"""Largest size of the weights: they come with every installation."""

_RENDERED = "synthetic"
"""How the names of the builders begin whose clips are rendered."""


def ship(run: str, out: Path) -> Metrics:
    """Writes the model folder and its card.

    Args:
      run: The workdir of a run on rendered people; its data has to be there, or is rendered again.
      out: The folder.

    Returns:
      The metrics of the stored weights.

    Raises:
      UserError: There is no such run, it was not trained on rendered people alone, or the model is too large.
    """
    model = read_model(run)
    spec = model.spec
    if not spec.data.builder.startswith(_RENDERED):
        raise UserError(
            f"--run: expected a run on rendered people, since the model card says so, got {run}, which was trained on "
            f"musclemap/{spec.data.builder}"
        )
    if any(spec.init_from.values()):
        raise UserError(f"--run: expected a run from random weights, got {run}, which started from others")
    stored = _stored(model)
    num_bytes = 2 * _num_parameters(stored)
    if num_bytes > MAX_BYTES:
        raise UserError(
            f"--run: expected weights of at most {MAX_BYTES / 1e6:.0f} MB, got {num_bytes / 1e6:.1f} MB: train a "
            "smaller model"
        )
    data = load_data(spec.data)
    rounded = jax.tree.map(lambda leaf: leaf.astype(np.float16).astype(leaf.dtype), model.variables)
    metrics = _evaluate(dataclasses.replace(model, variables=rounded), data)
    card = _card(stored, data, metrics)
    save_model(out, stored)
    (out / CARD).write_text(card, encoding="utf-8")
    return metrics


def _stored(model: StoredModel) -> StoredModel:
    """The model without what prediction does not need, and without the paths of this machine."""
    params = {name: part for name, part in model.variables["params"].items() if not name.startswith(UNUSED)}
    return dataclasses.replace(
        model,
        name="shipped",
        spec=dataclasses.replace(model.spec, data=DataSpec(builder=model.spec.data.builder)),
        variables=model.variables | {"params": params},
    )


def _num_parameters(model: StoredModel) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(model.variables))


def _evaluate(model: StoredModel, data: PreparedData) -> Metrics:
    setup, _ = set_up(model.spec, data)
    variables: Any = jax.device_put(model.variables, setup.shardings.eval_variables)
    return setup.evaluator(setup.eval_batches).evaluate(variables, data.with_clips(EVAL_SPLITS))[0]


def _card(model: StoredModel, data: PreparedData, metrics: Metrics) -> str:
    """The text of the model card."""
    spec, clips = model.spec, data.clips["train"]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("musclemap_jax.predict", "."),
        autoescape=False,  # Markdown, of our own values
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("model_card.md").render(
        branches=[f"{name} ({BRANCHES[name].backbone.name})" for name in spec.model.branches],
        num_parameters=_num_parameters(model),
        num_bytes=2 * _num_parameters(model),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        version=__version__,
        builder=spec.data.builder,
        num_clips=len(clips),
        num_activities=len({clip.activity for clip in clips}),
        num_steps=spec.train.total_steps(len(clips)),
        batch_size=spec.train.batch_size,
        seed=spec.seed,
        table=headline_table(metrics),
        rule=model.decisions.rule() if model.decisions else "",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser(prog="python -m musclemap_jax.predict.ship", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", required=True, help="workdir of a run on rendered people")
    parser.add_argument("--out", default=str(SHIPPED), metavar="DIR", help="folder to write (in the package)")

    def body() -> None:
        args = parser.parse_args(expand_home(arguments))
        out = Path(args.out)
        print(headline_table(ship(args.run, out)))
        for name in (MODEL, WEIGHTS, CARD):
            print(f"{out / name}: {(out / name).stat().st_size / 1e6:.2f} MB")

    return run_command(body)


if __name__ == "__main__":
    sys.exit(main())
