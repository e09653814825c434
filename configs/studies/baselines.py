"""TransM3E beside every architecture that the paper compares it with, on rendered clips, all trained alike.

    python -m musclemap_jax.study --study=baselines --workdir=runs/baselines --config.data.data_dir=data

The linear models on skeletons stand below the rows. Of a family, the larger ones are deeper or wider here too. Every
row has the recipe of the variant :synthetic (AdamW), not that of its source. The networks for video read RGB, as in the
paper; TransM3E's video branch reads RGB difference in that variant, and so does one more row of MViTv2-S. Size: 15 rows
x 3 seeds, for a CPU with two cores; a run takes at most as long as `make demo`, skeletons alone half of it.
"""

from musclemap_jax.study.study import Row, Study


def get_study() -> Study:
    swin, mvit = "model.backbones.swin", "model.backbones.mvit"
    return Study(
        rows={
            "transm3e": Row("transm3e:synthetic", about="MViTv2-S and HD-GCN, distilled and fused"),
            "transm3e_swin_ctrgcn": Row("transm3e_swin_ctrgcn:synthetic", about="the same on Video Swin and CTR-GCN"),
            "mvitv2_s": Row("mvitv2_s:synthetic", about="MViTv2-S on RGB"),
            "mvitv2_s_rgb_diff": Row(
                "mvitv2_s:synthetic", {"model.branches": ("rgb_diff",)}, about="MViTv2-S on RGB difference"
            ),
            "mvitv2_b": Row("mvitv2_b:synthetic", {f"{mvit}.depth": 6}, about="MViTv2-B: half as deep again"),
            "swin3d_t": Row("swin3d_t:synthetic", about="Video Swin-T"),
            "swin3d_s": Row("swin3d_s:synthetic", {f"{swin}.depths": (1, 6, 1)}, about="Video Swin-S: deeper"),
            "swin3d_b": Row(
                "swin3d_b:synthetic",
                {f"{swin}.depths": (1, 6, 1), f"{swin}.embed_dim": 48},
                about="Video Swin-B: deeper and wider",
            ),
            "c2d": Row("c2d:synthetic", about="C2D, convolutions in space"),
            "i3d": Row("i3d:synthetic", about="I3D, convolutions in space and time"),
            "slow": Row("slow:synthetic", about="Slow, in time at the end alone"),
            "slowfast": Row("slowfast:synthetic", about="SlowFast"),
            "hdgcn": Row("hdgcn:synthetic", about="HD-GCN, skeletons alone"),
            "ctrgcn": Row("ctrgcn:synthetic", about="CTR-GCN, skeletons alone"),
            "stgcn": Row("stgcn:synthetic", about="ST-GCN, skeletons alone"),
        },
        seeds=(0, 1, 2),
        reference="transm3e",
    )
