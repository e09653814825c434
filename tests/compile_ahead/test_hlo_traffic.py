"""Tests of the bytes that operations move, on HLO text written by hand after what compilers print."""

import pytest

from musclemap_jax.compile_ahead.hlo_text import array_bytes, padded_bytes, read_module
from musclemap_jax.compile_ahead.hlo_traffic import by_source, traffic
from musclemap_jax.compile_ahead.report_table import operations_table

HLO = """HloModule jit_step, is_scheduled=true

%fused_slice (p0: f32[100,8], p1: f32[8]) -> f32[10,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %p1 = f32[8]{0} parameter(1)
  %part = f32[10,8]{1,0} slice(%p0), slice={[0:10], [0:8]}
  %wide = f32[10,8]{1,0} broadcast(%p1), dimensions={1}
  ROOT %sum = f32[10,8]{1,0} add(%part, %wide)
}

%fused_update (p0.1: f32[100,8], p1.1: f32[1,8], p2: s32[]) -> f32[100,8] {
  %p0.1 = f32[100,8]{1,0} parameter(0)
  %p1.1 = f32[1,8]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  ROOT %new = f32[100,8]{1,0} dynamic-update-slice(%p0.1, %p1.1, %p2, %p2)
}

%body (s: (s32[], f32[16])) -> (s32[], f32[16]) {
  %s = (s32[], f32[16]{0}) parameter(0)
  %v = f32[16]{0} get-tuple-element(%s), index=1
  %twice = f32[16]{0} add(%v, %v)
  ROOT %t = (s32[], f32[16]{0}) tuple(%i, %twice)
}

%large (q: f32[16]) -> f32[16] {
  %q = f32[16]{0} parameter(0)
  ROOT %n = f32[16]{0} negate(%q)
}

%small (r: f32[16]) -> f32[16] {
  ROOT %r = f32[16]{0} parameter(0)
}

ENTRY %main (a: f32[100,8], b: f32[8], c: f32[16], d: f32[1,8], i: s32[]) -> f32[100,8] {
  %a = f32[100,8]{1,0} parameter(0)
  %b = f32[8]{0:S(1)} parameter(1)
  %c = f32[16]{0} parameter(2)
  %d = f32[1,8]{1,0} parameter(3)
  %i.1 = s32[] parameter(4)
  %s1 = f32[10,8]{1,0:S(1)} fusion(%a, %b), calls=%fused_slice, metadata={op_name="jit(step)/jvp(M)/m/add"}
  %u1 = f32[100,8]{1,0} fusion(%a, %d, %i.1), calls=%fused_update, metadata={op_name="jit(f)/transpose(jvp(M))/add"}
  %loop = (s32[], f32[16]{0}) while(%init), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %which = f32[16]{0} conditional(%i.1, %c, %c), branch_computations={%large, %small}
  %k1 = f32[16]{0} custom-call(%a), custom_call_target="tpu_custom_call", backend_config={"c":{"bytes_accessed":"1234"}}
  %k2 = f32[16]{0} custom-call(%c), custom_call_target="Sharding"
  ROOT %out = f32[100,8]{1,0} copy(%u1)
}
"""


@pytest.fixture(scope="module")
def operations():
    return traffic(HLO)


def moved(operations, op, source=None):
    return [found.bytes_moved for found in operations if found.op == op and (source is None or found.source == source)]


def test_a_fusion_reads_the_slice_of_what_it_slices(operations):
    (slices,) = [found for found in operations if found.op == "fusion" and not found.backward]
    assert slices.bytes_moved == (10 * 8 + 8 + 10 * 8) * 4
    assert slices.fast_bytes == (8 + 10 * 8) * 4
    assert slices.source == "M/m/add"


def test_an_update_in_place_moves_the_update(operations):
    (update,) = [found for found in operations if found.op == "fusion" and found.backward]
    assert update.bytes_moved == (8 + 8) * 4 + 4


def test_loops_count_every_iteration_and_branches_the_largest(operations):
    assert moved(operations, "add") == [5 * 2 * 16 * 4 + 5 * 16 * 4]
    assert moved(operations, "negate") == [2 * 16 * 4]


def test_a_kernel_moves_what_it_states_and_another_custom_call_its_arrays(operations):
    assert sorted(moved(operations, "custom-call")) == [2 * 16 * 4, 1234]


def test_all_of_it_is_listed_the_largest_first(operations):
    sizes = [found.bytes_moved for found in operations]
    assert sizes == sorted(sizes, reverse=True)
    assert moved(operations, "copy") == [2 * 800 * 4]
    groups = by_source(operations)
    assert sum(group.bytes_moved for group in groups) == sum(sizes)
    table = operations_table(operations, 1)
    assert "copy: (no source)" in table
    assert len(table.splitlines()) == 3
    assert f"{6400 / sum(sizes):.0%} is above" in table


def test_operands_are_read_with_or_without_their_types():
    text = (
        "ENTRY %m (a: f32[2]) -> f32[2] {\n  %x = f32[2]{0} fusion(f32[2]{0} %a, (f32[1], s32[]) %b.1), calls=%f\n}\n"
    )
    (instruction,) = read_module(text).computations["m"]
    assert instruction.operands == ("a", "b.1")
    assert instruction.called == ("f",)


def test_arrays_in_fast_memory_are_told_apart():
    text = "(bf16[4,128]{1,0:T(8,128)(2,1)S(1)}, f32[8]{0})"
    assert (array_bytes(text), array_bytes(text, fast=True), array_bytes(text, fast=False)) == (1056, 1024, 32)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("bf16[4,8,28,28,96]{4,3,2,1,0:T(8,128)(2,1)}", 4 * 8 * 28 * 32 * 128 * 2),
        ("bf16[4,8,28,28,96]{4,2,1,3,0:T(8,128)(2,1)}", 4 * 8 * 28 * 32 * 128 * 2),
        ("f32[3,200]{0,1:T(4,128)}", 200 * 128 * 4),
        ("(f32[27]{0:T(128)}, s32[])", 128 * 4 + 4),
        ("f32[27,5]", 27 * 5 * 4),
    ],
)
def test_tiles_are_padded_from_the_innermost_axis_outwards(text, size):
    assert padded_bytes(text) == size
