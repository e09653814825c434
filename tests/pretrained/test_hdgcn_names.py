"""Tests of the table from published names to our variables; its transforms are tested by the goldens."""

import numpy as np
import pytest

from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.skeleton.temporal_conv import MultiScaleTemporalConv
from musclemap_jax.pretrained.hdgcn_names import from_published, published_arrays, temporal_conv_arrays
from tests.models import hdgcn_goldens as goldens

ENTRIES = published_arrays(HDGCNSpec(layout="ntu25"))


def test_number_of_parameters_for_two_persons():
    assert sum(int(np.prod(entry["shape"])) for entry in goldens.names()["entries"] if entry["trainable"]) == 1_649_700
    listed = {entry.name for entry in ENTRIES if entry.path[0] == "params"} | {"fc.weight", "fc.bias"}
    assert listed == {entry["name"] for entry in goldens.names()["entries"] if entry["trainable"]}


def test_the_table_lists_every_published_array_once():
    listed = [entry.name for entry in ENTRIES]
    expected = {entry["name"] for entry in goldens.names()["entries"] if entry["kind"] != "bn_count"}
    assert len(set(listed)) == len(listed)
    assert set(listed) == expected - {"fc.weight", "fc.bias"}


def test_published_arrays_that_do_not_fit_are_refused():
    module, x = MultiScaleTemporalConv(), goldens.to_ours(goldens.load("hdgcn_tiny")["tcn/x_T8"])
    entries = goldens.strip(temporal_conv_arrays("t", ()), "t.")
    arrays, shapes = goldens.unpack("tcn1/param/"), goldens.init_shapes(module, x)
    with pytest.raises(KeyError, match=r"branches.0.0.weight"):
        from_published({}, shapes, entries)
    with pytest.raises(ValueError, match=r"branches.1.0.weight: expected \(16, 4\) of ours, got \(16, 4, 1, 1\)"):
        from_published(arrays | {"branches.1.0.weight": np.zeros((16, 4, 1, 1), np.float32)}, shapes, entries)
    with pytest.raises(ValueError, match=r"no published array for params/reduce_kernel"):
        from_published(arrays, shapes, [entry for entry in entries if "reduce_kernel" not in entry.path])
