"""What each part of TransM3E adds on rendered clips: branches, distillation, fusion, class tokens, biomechanics.

    python -m musclemap_jax.study --study=ablation --workdir=runs/ablation --config.data.data_dir=data

Size: the variant :synthetic for 30 epochs instead of 75; on two cores seven minutes a run, of a branch alone three.
"""

from collections.abc import Mapping
from typing import Any

from musclemap_jax.study.study import Row, Study

WHOLE = "transm3e:synthetic"
NUM_EPOCHS = 30.0


def _row(config: str, overrides: Mapping[str, Any], about: str) -> Row:
    return Row(config, {"train.num_epochs": NUM_EPOCHS, **overrides}, about=about)


def get_study() -> Study:
    return Study(
        rows={
            "full": _row(WHOLE, {}, "both branches teach each other, MCTF"),
            "to_video": _row(WHOLE, {"model.directions": "to_rgb_diff"}, "one way: the skeleton branch teaches"),
            "no_distillation": _row(WHOLE, {"loss.kd_weight": 0.0}, "the same network, nothing is taught"),
            "no_fusion": _row(WHOLE, {"model.fusion": "none"}, "the heads see the classification tokens alone"),
            "no_tokens": _row(WHOLE, {"model.num_tokens": 0}, "the published branches, trained together"),
            "biomechanics": _row(
                WHOLE,
                {"model.backbones.hdgcn.streams": ("joint", "biomechanics")},
                "angles, levers and powers beside the joints",
            ),
            "video": _row("mvitv2_s:synthetic", {"model.branches": ("rgb_diff",)}, "the video branch alone"),
            "skeleton": _row("hdgcn:synthetic", {}, "the skeleton branch alone"),
        },
        seeds=(0, 1, 2),
        reference="full",
    )
