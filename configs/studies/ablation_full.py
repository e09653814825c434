"""Every combination of distillation sites and fusion, on rendered clips; for a GPU.

    python -m musclemap_jax.study --study=ablation_full --workdir=runs/ablation_full --config.data.data_dir=data

Without distillation there are no receiver tokens, so that only a fusion of the classification tokens alone is left.
Size: 22 rows x 3 seeds of the variant :synthetic. Not yet run.
"""

from musclemap_jax.study.study import Row, Study

SITES = ("dense", "sparse", "final")
FUSIONS = ("mctf", "sum", "multiply", "concat", "self_attention", "cross_attention", "none")


def get_study() -> Study:
    rows = {
        f"{sites}-{fusion}": Row("transm3e:synthetic", {"model.sites": sites, "model.fusion": fusion})
        for sites in SITES
        for fusion in FUSIONS
    }
    rows["no_sites"] = Row("transm3e:synthetic", {"model.sites": "none", "model.fusion": "none"})
    return Study(rows=rows, seeds=(0, 1, 2), reference="dense-mctf")
