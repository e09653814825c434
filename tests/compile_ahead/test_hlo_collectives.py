"""Tests of the count of collectives, on HLO text written by hand after what compilers print."""

import pytest

from musclemap_jax.compile_ahead.hlo_collectives import collectives
from musclemap_jax.compile_ahead.hlo_text import array_bytes

HLO = """HloModule jit_train_step, is_scheduled=true, num_partitions=8

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%async (p: bf16[4,128]) -> bf16[32,128] {
  %p = bf16[4,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.9 = bf16[32,128]{1,0:T(8,128)(2,1)} all-gather(%p), replica_groups=[1,8]<=[8], dimensions={0}
}

%body (s: (s32[], f32[16])) -> (s32[], f32[16]) {
  %s = (s32[], f32[16]{0}) parameter(0)
  %v = f32[16]{0} get-tuple-element(%s), index=1
  %moved = f32[16]{0} collective-permute(%v), source_target_pairs={{0,1},{1,0}}
  ROOT %t = (s32[], f32[16]{0}) tuple(%i, %moved)
}

ENTRY %main.5 (a: f32[100], b: f32[16]) -> f32[100] {
  %a = f32[100]{0} parameter(0)
  %all-reduce.1 = (f32[100]{0}, f32[28]{0:T(128)}) all-reduce(%a), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  %start = ((bf16[4,128]{1,0}), bf16[32,128]{1,0}, u32[]) async-start(%q), calls=%async
  %done = bf16[32,128]{1,0} async-done(%start)
  %rs = f32[10]{0} reduce-scatter(%a), replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%add
  %ps = (f32[16]{0}, f32[16]{0}, u32[], u32[]) collective-permute-start(%b), source_target_pairs={{0,1}}
  %pd = f32[16]{0} collective-permute-done(%ps)
  %loop = (s32[], f32[16]{0}) while(%init), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %a2a = f32[40]{0} all-to-all(%a), replica_groups=mesh['data'=4,'fsdp'=1,'tensor'=2] {'data','fsdp'}, dimensions={0}
  %a2b = f32[40]{0} all-to-all(%a), replica_groups=mesh['data'=8] {'data':(4)2}, dimensions={0}
  ROOT %out = f32[100]{0} get-tuple-element(%all-reduce.1), index=0
}
"""


def test_each_kind_is_counted_by_the_ring():
    totals = collectives(HLO, num_chips=8)
    assert list(totals) == ["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"]
    assert (totals["all-reduce"].count, totals["all-reduce"].bytes_sent) == (1, 128 * 4 * 2 * 3 / 4)
    assert (totals["all-gather"].count, totals["all-gather"].bytes_sent) == (1, 32 * 128 * 2 * 7 / 8)
    assert (totals["reduce-scatter"].count, totals["reduce-scatter"].bytes_sent) == (1, 10 * 4 * 3)
    assert (totals["all-to-all"].count, totals["all-to-all"].bytes_sent) == (2, 40 * 4 * (3 / 4 + 1 / 2))


def test_a_loop_counts_every_iteration_and_an_asynchronous_start_its_result():
    permutes = collectives(HLO, num_chips=8)["collective-permute"]
    assert (permutes.count, permutes.bytes_sent) == (5 + 1, 6 * 16 * 4)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("f32[4,8]{1,0:T(8,128)}", 128),
        ("(bf16[16]{0}, u32[])", 36),
        ("pred[7]", 7),
        ("f8e4m3fn[3,2]", 6),
        ("token[]", 0),
    ],
)
def test_bytes_of_types(text, size):
    assert array_bytes(text) == size
