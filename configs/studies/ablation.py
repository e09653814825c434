"""What each part of TransM3E adds on rendered clips: branches, distillation, fusion, class tokens, biomechanics.

    python -m musclemap_jax.study --study=ablation --workdir=runs/ablation --config.data.data_dir=data

Size: the variant :synthetic, as `make demo` trains it; on two cores 20 to 40 minutes a run, of a branch alone 5 to 12.
In a run of 30 epochs instead of 75, nothing has learned enough to be compared (video branch, seed 0: 29.3 on
test_known instead of 70.2).
"""

from musclemap_jax.study.study import Row, Study

WHOLE = "transm3e:synthetic"


def get_study() -> Study:
    return Study(
        rows={
            "full": Row(WHOLE, {}, about="both branches teach each other, MCTF"),
            "to_video": Row(WHOLE, {"model.directions": "to_rgb_diff"}, about="one way: the skeleton branch teaches"),
            "no_distillation": Row(WHOLE, {"loss.kd_weight": 0.0}, about="the same network, nothing is taught"),
            "no_fusion": Row(WHOLE, {"model.fusion": "none"}, about="the heads see the classification tokens alone"),
            "no_tokens": Row(WHOLE, {"model.num_tokens": 0}, about="the published branches, trained together"),
            "biomechanics": Row(
                WHOLE,
                {"model.backbones.hdgcn.streams": ("joint", "biomechanics")},
                about="angles, levers and powers beside the joints",
            ),
            "video": Row("mvitv2_s:synthetic", {"model.branches": ("rgb_diff",)}, about="the video branch alone"),
            "skeleton": Row("hdgcn:synthetic", {}, about="the skeleton branch alone"),
        },
        seeds=(0, 1, 2),
        reference="full",
    )
