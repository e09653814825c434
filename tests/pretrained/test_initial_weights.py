"""Tests of starting a model from an import or from a run: what is taken, interpolated and left out."""

import dataclasses

import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.transm3e import RELEASED, ModelSpec
from musclemap_jax.pretrained.hdgcn_names import hdgcn_architecture
from musclemap_jax.pretrained.initial_weights import GRAPH, HEAD, STREAM, TABLE, initialise, same_graphs
from musclemap_jax.pretrained.published import branch_model
from musclemap_jax.pretrained.result import load_initial
from musclemap_jax.pretrained.transforms import resize_axis
from tests.models import goldens
from tests.pretrained.trees import STACKED_SPEC, assert_same, flat, variables


class TestInitialise:
    def test_a_branch_of_the_whole_model(self, imported, tiny_model_spec):
        spec = dataclasses.replace(tiny_model_spec, backbones=tiny_model_spec.backbones | {"mvit": goldens.TINY_SPEC})
        params, statistics = variables(spec)
        loaded = load_initial(imported)
        new_params, new_statistics, report = initialise(params, statistics, loaded, "video")
        assert_same(new_params["video"]["blocks_3"], loaded["params"]["video"]["blocks_3"])
        assert_same(new_params["head_video"], loaded["params"]["head_video"])
        for kept in ("skeleton", "fusion_video", "kd_to_video_unit01"):
            assert_same(new_params[kept], params[kept])
        assert_same(new_params["video"]["class_tokens"], params["video"]["class_tokens"])
        assert_same(new_statistics, statistics)
        assert {entry.rule for entry in report.left_out} == {"class tokens"}
        assert [entry.name for entry in report.left_out] == ["params/video/class_tokens/classification"]
        rules = {entry.rule for entry in report.initial}
        assert rules == {"class tokens", "fusion", "projection of receiver tokens"}
        assert f"{len(report.used)} arrays loaded" in report.text()

    def test_both_branches_one_after_the_other(self, imported, tiny_model_spec):
        spec = dataclasses.replace(tiny_model_spec, backbones=tiny_model_spec.backbones | {"mvit": goldens.TINY_SPEC})
        skeleton, statistics = variables(branch_model("skeleton", 20, backbones=spec.backbones), seed=1)
        params, batch_stats, _ = initialise(*variables(spec), load_initial(imported), "video")
        earlier_run = {"params": skeleton, "batch_stats": statistics}
        params, batch_stats, report = initialise(params, batch_stats, earlier_run, "skeleton")
        taken, given = (flat(tree["skeleton"]["unit01"]) for tree in (params, skeleton))
        assert {name for name in given if not np.array_equal(taken[name], given[name])} == {
            "tokens/adjacency",
            "tokens/spread",
        }
        assert_same(batch_stats["skeleton"], statistics["skeleton"])
        # Twice 20 tokens join the graph in the whole model, 20 in the branch alone.
        assert {entry.rule for entry in report.left_out} == {"class tokens"}

    def test_weights_of_a_video_branch_serve_the_difference_branch(self, imported):
        params, _ = variables(ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC}))
        loaded = load_initial(imported)
        taken, _, report = initialise(params, {}, loaded, "rgb_diff")
        assert_same(taken["rgb_diff"]["blocks_0"], loaded["params"]["video"]["blocks_0"])
        assert_same(taken["video"], params["video"])
        assert {entry.rule for entry in report.left_out} == {"class tokens", "head"}

    def test_the_whole_model(self):
        model = ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC})
        params, _ = variables(model)
        loaded, _ = variables(model, seed=1)
        taken, _, report = initialise(params, {}, {"params": loaded, "batch_stats": {}})
        assert_same(taken, loaded)
        assert report.initial == report.left_out == ()

    def test_heads_for_other_regions_are_left_out(self):
        model = ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC})
        params, _ = variables(model)
        loaded, _ = variables(model, seed=1)
        loaded = {"params": loaded, "batch_stats": {}}
        taken, _, report = initialise(params, {}, loaded, unlike=(HEAD,))  # 20 regions of other names
        assert_same(taken["head_video"], params["head_video"])
        assert_same(taken["video"], loaded["params"]["video"])
        assert {entry.rule for entry in report.initial} == {"head"}
        params, _ = variables(dataclasses.replace(model, num_regions=5))
        taken, _, report = initialise(params, {}, loaded, unlike=(HEAD,))
        assert_same(taken["head_video"], params["head_video"])
        assert_same(taken["video"]["blocks_0"], loaded["params"]["video"]["blocks_0"])
        assert {entry.rule for entry in report.initial} == {"class tokens", "fusion", "head"}

    @pytest.mark.parametrize(
        ("change", "fragment"),
        [
            ({"depth": 5}, "different architectures"),
            ({"depth": 3, "stages": (1,)}, "different architectures"),
        ],
    )
    def test_models_that_do_not_fit(self, imported, change, fragment):
        video = dataclasses.replace(goldens.TINY_SPEC, **change)
        with pytest.raises(UserError, match=fragment):
            initialise(*variables(branch_model("video", backbones={"mvit": video})), load_initial(imported))

    def test_branches_that_are_not_there(self, imported, tiny_model_spec):
        params, statistics = variables(tiny_model_spec)
        with pytest.raises(UserError, match="no branch 'rgb_diff'"):
            initialise(params, statistics, load_initial(imported), "rgb_diff")
        with pytest.raises(UserError, match="different architectures"):
            initialise(params, statistics, load_initial(imported), "skeleton")


class TestTables:
    @pytest.mark.parametrize("spec", [goldens.TINY_SPEC, STACKED_SPEC])
    def test_tables_of_another_clip_size_are_interpolated(self, spec):
        """Also those of stacked blocks, each for itself."""
        larger = dataclasses.replace(spec, input_size=(8, 40, 16))
        loaded, _ = variables(branch_model("video", backbones={"mvit": spec}), seed=1)
        params, _ = variables(branch_model("video", backbones={"mvit": larger}))
        taken, _, report = initialise(params, {}, {"params": loaded, "batch_stats": {}})
        assert report.initial == report.left_out == ()
        assert set(report.used) == {f"params/{name}" for name in flat(params)}
        tables = [name for name in flat(params) if flat(params)[name].shape != flat(loaded)[name].shape]
        assert tables
        assert set(report.interpolated) == {f"params/{name}" for name in tables}
        assert f"{TABLE} interpolated: {len(tables)}" in report.text()
        for name, leaf in flat(taken).items():
            before = flat(loaded)[name]
            if name not in tables:
                np.testing.assert_array_equal(leaf, before)
                continue
            layers = zip(leaf.reshape(-1, *leaf.shape[-2:]), before.reshape(-1, *before.shape[-2:]), strict=True)
            for ours, theirs in layers:
                np.testing.assert_allclose(ours, resize_axis(theirs, 0, len(ours)), atol=1e-6)

    def test_weights_trained_on_images_have_no_tables_in_time(self, imported):
        loaded = load_initial(imported)
        params, _ = variables(branch_model("video", backbones={"mvit": goldens.TINY_SPEC}))
        images = {name: leaf for name, leaf in flat(loaded["params"]).items() if not name.endswith("rel_pos_t")}
        taken, _, report = initialise(params, {}, {"params": traverse_util.unflatten_dict(images, sep="/")})
        assert {entry.rule for entry in report.initial} == {TABLE}
        assert len(report.initial) == 4
        assert_same(taken["video"]["blocks_0"]["mlp"], loaded["params"]["video"]["blocks_0"]["mlp"])


SKELETON = branch_model("skeleton", backbones={"hdgcn": HDGCNSpec(widths=(8, 8))})


class TestGraphs:
    def test_arrays_of_another_layout_are_left_out_by_rule(self):
        """Halpe-26 has 26 joints and five hierarchies, coco19 has 19 and four."""
        other = branch_model("skeleton", backbones={"hdgcn": HDGCNSpec(widths=(8, 8), layout="halpe26")})
        params, statistics = variables(SKELETON)
        loaded, loaded_statistics = variables(other, seed=1)
        taken, batch_stats, report = initialise(
            params, statistics, {"params": loaded, "batch_stats": loaded_statistics}, "skeleton"
        )
        assert {entry.rule for entry in (*report.initial, *report.left_out)} == {GRAPH}
        assert [entry.name for entry in report.initial] == [entry.name for entry in report.left_out]
        left = {tuple(entry.name.split("/")[2:4]) for entry in report.initial}
        assert left == {
            ("input_norm", "scale"),
            ("input_norm", "bias"),
            ("input_norm", "mean"),
            ("input_norm", "var"),
        } | {(unit, "graph") for unit in ("unit01", "unit02")}
        graph = taken["skeleton"]["unit02"]["graph"]
        assert_same(graph["attention"], loaded["skeleton"]["unit02"]["graph"]["attention"])
        for kept in ("adjacency", "down_kernel", "subset_bias", "edge"):
            assert_same({kept: graph[kept]}, {kept: params["skeleton"]["unit02"]["graph"][kept]})
        assert_same(taken["skeleton"]["unit02"]["temporal"], loaded["skeleton"]["unit02"]["temporal"])
        assert_same(batch_stats["skeleton"]["input_norm"], statistics["skeleton"]["input_norm"])

    def test_arrays_of_another_centre_are_left_out_though_they_fit(self):
        loaded, loaded_statistics = variables(SKELETON, seed=1)
        loaded = {"params": loaded, "batch_stats": loaded_statistics}
        params, statistics = variables(SKELETON)
        assert initialise(params, statistics, loaded)[2].left_out == ()
        taken, _, report = initialise(params, statistics, loaded, unlike=(GRAPH,))
        assert {entry.rule for entry in report.left_out} == {GRAPH}
        adjacency = taken["skeleton"]["unit01"]["graph"]["adjacency"]
        np.testing.assert_array_equal(adjacency, params["skeleton"]["unit01"]["graph"]["adjacency"])

    @pytest.mark.parametrize(
        ("stored", "same"),
        [
            ({"layout": "coco19", "centre": None, "widths": [8, 8]}, True),
            ({"layout": "coco19", "centre": "neck"}, True),
            ({"layout": "coco19", "centre": "pelvis"}, False),
            ({"layout": "halpe26", "centre": None}, False),
            ({"layout": "kinect1"}, False),
            ({}, True),
        ],
    )
    def test_graphs_are_compared(self, stored, same):
        assert same_graphs(SKELETON, {"hdgcn": stored, "mvit": {"depth": 2, "unknown": 3}}) is same
        assert same_graphs(branch_model("video"), {"hdgcn": stored})

    def test_published_weights_by_joint_name_start_our_layout(self):
        """An import from ntu25 has no input norm; ours keeps its own."""
        spec = SKELETON.architecture("skeleton")
        architecture = hdgcn_architecture("hdgcn", spec, from_layout="ntu25")
        loaded, loaded_statistics = variables(architecture.model, seed=1)
        imported = {"params": dict(loaded["skeleton"]), "batch_stats": dict(loaded_statistics["skeleton"])}
        for part in imported.values():
            del part["input_norm"]
        imported = {name: {"skeleton": part} for name, part in imported.items()}
        params, statistics = variables(SKELETON)
        taken, batch_stats, report = initialise(params, statistics, imported, "skeleton")
        assert {entry.rule for entry in report.initial} == {GRAPH, HEAD}
        assert_same(taken["skeleton"]["unit01"], loaded["skeleton"]["unit01"])
        assert_same(batch_stats["skeleton"]["input_norm"], statistics["skeleton"]["input_norm"])

    def test_weights_without_a_stream_start_a_model_that_has_it(self):
        """And the other way round; a stream that both have is taken."""
        several = SKELETON.architecture("skeleton"), ("joint", "bone", "biomechanics")
        several = branch_model("skeleton", backbones={"hdgcn": dataclasses.replace(several[0], streams=several[1])})
        params, statistics = variables(several)
        loaded, loaded_statistics = variables(SKELETON, seed=1)
        loaded = {"params": loaded, "batch_stats": loaded_statistics}
        taken, batch_stats, report = initialise(params, statistics, loaded, "skeleton")
        assert {entry.rule for entry in report.initial} == {STREAM}
        assert report.left_out == ()
        # Each of the two has a scale, a bias, a mean and a variance, and two kernels.
        assert f"{STREAM} initial: 12" in report.text()
        new = {entry.name for entry in report.initial}
        back = {"params": params, "batch_stats": statistics}
        before, given = flat(back), flat(loaded)
        for name, leaf in flat({"params": taken, "batch_stats": batch_stats}).items():
            np.testing.assert_array_equal(leaf, before[name] if name in new else given[name])
        taken, _, report = initialise(loaded["params"], loaded_statistics, back, "skeleton")
        assert {entry.rule for entry in report.left_out} == {STREAM}
        assert report.initial == ()
        assert initialise(params, statistics, back)[2].initial == ()
        assert len(initialise(params, statistics, back, unlike=(GRAPH, STREAM))[2].initial) > 12

    def test_an_array_of_a_graph_that_the_model_has_not_is_another_architecture(self):
        loaded, _ = variables(SKELETON, seed=1)
        params, statistics = variables(SKELETON)
        loaded["skeleton"]["unit01"]["graph"]["edge"]["more"] = np.ones(2, np.float32)
        with pytest.raises(UserError, match="edge/more: in the loaded arrays, not in the model"):
            initialise(params, statistics, {"params": loaded, "batch_stats": statistics})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(imported, value):
    params, _ = variables(branch_model("video", backbones={"mvit": goldens.TINY_SPEC}))
    loaded = load_initial(imported)
    loaded["params"]["video"]["norm"]["bias"][0] = value
    with pytest.raises(UserError, match="init_from: params/video/norm/bias: holds values that are not finite"):
        initialise(params, {}, loaded)


def test_hdgcn_starts_a_skeleton_branch(tiny_model_spec):
    """A published network without tokens starts ours with tokens; they are new."""
    architecture = hdgcn_architecture("hdgcn", tiny_model_spec.backbones["hdgcn"])
    params, statistics = variables(architecture.model, seed=1)
    taken, batch_stats, report = initialise(
        *variables(tiny_model_spec), {"params": params, "batch_stats": statistics}, "skeleton"
    )
    unit = {name: part for name, part in taken["skeleton"]["unit02"].items() if name != "tokens"}
    assert_same(unit, params["skeleton"]["unit02"])
    assert_same(batch_stats["skeleton"], statistics["skeleton"])
    assert {entry.rule for entry in report.initial} == {"class tokens", "fusion", "projection of receiver tokens"}
