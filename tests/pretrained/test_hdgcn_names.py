"""Tests of the table from published names to our variables; its transforms are tested by the goldens."""

import numpy as np

from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.pretrained.hdgcn_names import published_arrays
from tests.models import hdgcn_goldens as goldens

ENTRIES = published_arrays(HDGCNSpec(layout="ntu25"))


def test_number_of_parameters_for_two_persons():
    assert sum(int(np.prod(entry["shape"])) for entry in goldens.names()["entries"] if entry["trainable"]) == 1_649_700
    listed = {entry.source for entry in ENTRIES if entry.target[0] == "params"} | {"fc.weight", "fc.bias"}
    assert listed == {entry["name"] for entry in goldens.names()["entries"] if entry["trainable"]}


def test_the_table_lists_every_published_array_once():
    listed = [entry.source for entry in ENTRIES]
    expected = {entry["name"] for entry in goldens.names()["entries"] if entry["kind"] != "bn_count"}
    assert len(set(listed)) == len(listed)
    assert set(listed) == expected - {"fc.weight", "fc.bias"}
