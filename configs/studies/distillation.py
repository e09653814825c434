"""Which distillation bites on rendered clips: the paper's, between normalised tokens, between logits, or none.

    python -m musclemap_jax.study --study=distillation --workdir=runs/distillation --config.data.data_dir=data

Size: the variant :synthetic, as `make demo` trains it; on two cores 15 to 25 minutes a run. With normalised tokens the
knowledge is taught from a fifth of the run on, when there is some.
"""

from musclemap_jax.study.study import Row, Study

WHOLE = "transm3e:synthetic"
LATE = {"loss.kd_start_fraction": 0.2, "loss.kd_warmup_fraction": 0.2}
NORMALISED = LATE | {
    "loss.kd_normalization": "layer", "loss.kd_axis": "channel", "loss.kd_tau": 2.0, "loss.kd_weight": 0.1
}  # fmt: skip


def get_study() -> Study:
    return Study(
        rows={
            "none": Row(WHOLE, {"loss.kd_weight": 0.0}, about="nothing is taught"),
            "paper": Row(WHOLE, {}, about="divergence of the tokens as they are"),
            "normalised": Row(WHOLE, NORMALISED, about="divergence of normalised tokens"),
            "to_video": Row(
                WHOLE,
                NORMALISED | {"model.directions": "to_rgb_diff"},
                about="the same; the skeleton branch teaches, and no other",
            ),
            "logits": Row(
                WHOLE,
                LATE | {"loss.kd_weight": 0.0, "loss.kd_logits_weight": 0.5},
                about="the branches' probabilities instead",
            ),
        },
        seeds=(0, 1, 2),
        reference="none",
    )
