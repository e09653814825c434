"""The table of branches: what each entry holds, and that nothing else asks for a branch's name."""

import ast
import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from musclemap_jax.models.branches import BRANCHES, BackboneSpecs
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.transm3e import ModelSpec, TransM3E

PACKAGE = Path(__file__).parents[2] / "musclemap_jax"
OWN_FILES = (
    "models/branches.py",
    "models/video/",
    "models/skeleton/",
    "pretrained/hdgcn_names.py",
    "pretrained/architectures.py",
    "pretrained/mvit_names.py",
)
"""The table and the branches' own files."""

OTHER_SUBJECTS = {
    "data/": "modalities of the batch and fields of a record, some of which have a branch's name",
    "experiment/run_report.py": "fields of a record",
    "experiment/run_baselines.py": "the same",
    "predict/model.py": "the modality that a pose estimator makes",
    "predict/windows.py": "the same",
    "predict/skeleton_answers.py": "the modality that a branch reads, and fields of a record",
    "predict/explanation_pictures.py": "modalities that are drawn",
    "predict/web/worker.py": "a field of a message",
    "predict/corpus_files.py": "a column of a table",
    "scenic_bridge/": "modalities of the batch, and branches of its own",
    "stress/": "modalities of the batch and fields of a record",
}


WITHOUT_FEATURES = ("pose_statistics",)
"""Branches that end with nothing beside their class tokens."""


def names_asked_for(tree):
    """(line, branch name) of comparisons, lookups and patterns with a constant that is a branch's name."""
    for node in ast.walk(tree):
        asked = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asked = node.args[:1] if node.func.attr in ("get", "pop", "setdefault", "startswith", "endswith") else []
        for part in asked:
            for inner in ast.walk(part):
                if isinstance(inner, ast.Constant) and inner.value in BRANCHES:
                    yield node.lineno, inner.value


def test_nothing_outside_the_table_asks_for_a_branch_by_name():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {name!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in names_asked_for(ast.parse(path.read_text()))
        if not str(path.relative_to(PACKAGE)).startswith((*OWN_FILES, *OTHER_SUBJECTS))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "name == 'skeleton'",
        "name in ('video', 'rgb_diff')",
        "x['optical_flow']",
        "x.get('video')",
        "part.startswith('rgb_diff')",
    ],
)
def test_the_search_finds_every_way_of_asking(code):
    assert list(names_asked_for(ast.parse(code)))


@pytest.mark.parametrize("name", BRANCHES)
def test_an_entry_builds_a_branch_whose_tokens_have_the_stated_width(name):
    branch = BRANCHES[name]
    spec = ModelSpec(branches=(name,)).architecture(name)
    inputs = branch.example(spec, 1)
    module = branch.backbone.build(spec, 5, True, jnp.float32, "none", "branch")
    output, _ = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), *inputs, train=False))
    assert output.final_classification.shape == output.final_receiver.shape == (1, 5, spec.output_dim)
    if name in WITHOUT_FEATURES:
        assert output.features is None
    else:
        assert output.features.shape == (1, output.features.shape[1], spec.output_dim)
    assert len(output.classification) == spec.stage_ends[-1] + 1
    counted = branch.backbone.multiply_adds(spec, [array.shape[1:] for array in inputs], 10)
    assert counted > branch.backbone.multiply_adds(spec, [array.shape[1:] for array in inputs], 5) > 0


@pytest.mark.parametrize("name", [name for name in BRANCHES if name not in WITHOUT_FEATURES])
def test_attentive_pooling_fits_every_branch_with_features(name):
    model = TransM3E(ModelSpec(branches=(name,), num_tokens=0, sites="none", fusion="attentive"))
    inputs = {name: BRANCHES[name].example(model.spec.architecture(name), 1)}
    init = functools.partial(model.init, num_clips=1, train=False, distil=False, method="run")
    params = jax.eval_shape(init, jax.random.key(0), inputs)["params"]
    assert params[f"fusion_{name}"]["query"].shape == (1, 1, model.spec.architecture(name).output_dim)


def test_architectures_that_are_left_out_have_defaults_and_specs_stay_values():
    small = HDGCNSpec(widths=(8,))
    spec = ModelSpec(backbones={"hdgcn": small})
    assert spec.backbones == BackboneSpecs({"hdgcn": small})
    assert spec.architecture("video") == spec.architecture("rgb_diff") == ModelSpec().architecture("video")
    assert spec.architecture("skeleton") == small
    assert hash(spec) == hash(dataclasses.replace(spec)) != hash(ModelSpec())
    assert json.loads(json.dumps(dataclasses.asdict(spec)))["backbones"]["hdgcn"]["widths"] == [8]
