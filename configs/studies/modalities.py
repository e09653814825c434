"""The four modalities of the data set, alone and in pairs, on rendered clips; for a GPU.

    python -m musclemap_jax.study --study=modalities --workdir=runs/modalities --config.data.data_dir=data

In a pair, both branches have a head, teach each other and are fused, as in TransM3E. Size: 10 rows x 3 seeds of the
variant :synthetic. Optical flow is estimated when the data is prepared. Not yet run.
"""

import itertools

from musclemap_jax.study.study import Row, Study

MODALITIES = {"video": "RGB", "rgb_diff": "RGB difference", "optical_flow": "optical flow", "skeleton": "skeleton"}
"""Branch -> modality."""


def get_study() -> Study:
    data = {"data.builder": "synthetic_flow"}
    rows = {}
    for branch, name in MODALITIES.items():
        config = "hdgcn:synthetic" if branch == "skeleton" else "mvitv2_s:synthetic"
        rows[branch] = Row(config, {**data, "model.branches": (branch,)}, about=name)
    for pair in itertools.combinations(MODALITIES, 2):
        about = " and ".join(MODALITIES[branch] for branch in pair)
        rows["-".join(pair)] = Row("transm3e:synthetic", {**data, "model.branches": pair}, about=about)
    return Study(rows=rows, seeds=(0, 1, 2), reference="video-skeleton")
