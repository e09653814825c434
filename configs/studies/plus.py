"""What each part of transm3e_plus adds on rendered clips: its skeleton branch alone, and distillation.

    python -m musclemap_jax.study --study=plus --workdir=runs/plus --config.data.data_dir=data

`--study=skeletons` takes its skeleton branch apart. Size: the variant :synthetic; on two cores 20 to 30 minutes a run,
of the skeleton branch alone three.
"""

from musclemap_jax.study.study import Row, Study

WHOLE = "transm3e_plus:synthetic"


def get_study() -> Study:
    return Study(
        rows={
            "plus": Row(WHOLE, about="MViTv2-S and statistics of the poses, which teach it; fused by region"),
            "no_distillation": Row(WHOLE, {"loss.kd_weight": 0.0}, about="the same network, nothing is taught"),
            "skeleton": Row("pose_statistics:synthetic", about="statistics of the poses alone"),
        },
        seeds=(0, 1, 2),
        reference="plus",
    )
