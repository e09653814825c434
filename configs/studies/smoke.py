"""Two rows of five steps each: checks in a minute that a study runs, stops, resumes and compares.

    python -m musclemap_jax.study --study=smoke --workdir=runs/smoke_study

The scores mean nothing.
"""

from musclemap_jax.study.study import Row, Study


def get_study() -> Study:
    return Study(
        rows={
            "skeleton": Row("hdgcn:smoke"),
            "slow": Row("hdgcn:smoke", {"optimizer.learning_rate": 3e-4}, about="a tenth of the learning rate"),
        },
        seeds=(0, 1),
    )
