"""What helps a skeleton branch on new activities: limb views, windows, mixup of statistics, instead of a graph network.

    python -m musclemap_jax.study --study=skeletons --workdir=runs/skeletons --config.data.data_dir=data

Size: the variant :synthetic; on two cores two minutes a run, of HD-GCN six.
"""

from musclemap_jax.study.study import Row, Study

OURS = "pose_statistics:synthetic"


def get_study() -> Study:
    return Study(
        rows={
            "pose_statistics": Row(OURS, about="statistics of the poses, by limbs and by windows of time"),
            "no_windows": Row(
                OURS, {"model.backbones.pose_statistics.num_windows": 0}, about="statistics of the whole clip alone"
            ),
            "whole_body": Row(
                OURS, {"model.backbones.pose_statistics.limb_views": False}, about="every region sees the whole body"
            ),
            "no_mixup": Row(OURS, {"train.mixing.mixup_alpha": 0.0}, about="without mixup of the statistics"),
            "hdgcn": Row("hdgcn:synthetic", about="HD-GCN, pooled features"),
            "hdgcn_tokens": Row(
                "hdgcn:synthetic",
                {"model.num_tokens": 20, "model.fusion": "by_region"},
                about="HD-GCN, a class token for each region",
            ),
        },
        seeds=(0, 1, 2),
        reference="pose_statistics",
    )
