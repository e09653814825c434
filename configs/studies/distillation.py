"""Which distillation bites on rendered clips: the paper's, between normalised tokens, between logits, or none.

    python -m musclemap_jax.study --study=distillation --workdir=runs/distillation --config.data.data_dir=data

Size: the variant :synthetic for 30 epochs instead of 75; on two cores seven minutes a run. With normalised tokens the
knowledge is taught from a fifth of the run on, when there is some.
"""

from collections.abc import Mapping
from typing import Any

from musclemap_jax.study.study import Row, Study

WHOLE = "transm3e:synthetic"
NUM_EPOCHS = 30.0
LATE = {"loss.kd_start_fraction": 0.2, "loss.kd_warmup_fraction": 0.2}
NORMALISED = LATE | {
    "loss.kd_normalization": "layer", "loss.kd_axis": "channel", "loss.kd_tau": 2.0, "loss.kd_weight": 0.1
}  # fmt: skip


def _row(overrides: Mapping[str, Any], about: str) -> Row:
    return Row(WHOLE, {"train.num_epochs": NUM_EPOCHS, **overrides}, about=about)


def get_study() -> Study:
    return Study(
        rows={
            "none": _row({"loss.kd_weight": 0.0}, "nothing is taught"),
            "paper": _row({}, "divergence of the tokens as they are"),
            "normalised": _row(NORMALISED, "divergence of normalised tokens"),
            "to_video": _row(
                {**NORMALISED, "model.directions": "to_rgb_diff"}, "the same; the skeleton branch teaches, and no other"
            ),
            "logits": _row(
                {**LATE, "loss.kd_weight": 0.0, "loss.kd_logits_weight": 0.5}, "the branches' probabilities instead"
            ),
        },
        seeds=(0, 1, 2),
        reference="none",
    )
