"""The compile-ahead report as tables: the cost of a step, and its operations that move most."""

from __future__ import annotations

from collections.abc import Iterable

from musclemap_jax.compile_ahead.hlo_traffic import OpTraffic, by_source
from musclemap_jax.compile_ahead.step_report import StepReport
from musclemap_jax.compile_ahead.topology import Topology

GIB = 2**30


def report_table(report: StepReport, title: str, topology: Topology) -> str:
    """The cost of one device, a line each, under a head with the configuration's title."""
    hbm, unit = topology.chip.hbm_bytes, topology.chip.device
    axes = " x ".join(f"{axis} {size}" for axis, size in report.mesh.items())
    excess = report.flops / report.analytic_flops - 1
    rows = [
        ("parameters", _gib(report.parameter_bytes)),
        ("optimizer", _gib(report.optimizer_bytes)),
        ("moving average", _gib(report.ema_bytes)),
        ("batch", _gib(report.batch_bytes)),
        ("temporaries", _gib(report.temporary_bytes)),
        ("  kept for the gradient by JAX", _gib(report.activation_bytes)),
        ("total of HBM", f"{_gib(report.total_bytes)} of {hbm // GIB} GiB, {report.total_bytes / hbm:.0%}"),
        ("FLOPs by the compiler", f"{report.flops / 1e12:.3f} TFLOP"),
        ("FLOPs by the model's shapes", f"{report.analytic_flops / 1e12:.3f} TFLOP (compiler {excess:+.1%})"),
        ("read and written", f"{report.bytes_accessed / 1e9:.1f} GB"),
        ("  without our kernels", f"{(report.bytes_accessed - report.kernel_bytes) / 1e9:.1f} GB"),
        ("  of them in fast memory (VMEM)", f"{report.fast_bytes / 1e9:.1f} GB"),
    ]
    rows += [
        (f"sent by {kind}", f"{total.bytes_sent / 1e9:.3f} GB in {total.count} operations")
        for kind, total in report.collectives.items()
    ]
    rows.append(("compilation", f"{report.compile_s:.0f} s"))
    head = (
        f"{title} on {topology.text}: {report.num_chips} {unit}s ({axes}), {report.batch_size} clips a step; per {unit}"
    )
    return "\n".join([head, *(f"  {name:<40}{value:>10}" for name, value in rows)])


def operations_table(operations: Iterable[OpTraffic], most: int) -> str:
    """The sources whose operations move most, a line each: GB, those in VMEM, their number, opcode and source."""
    groups = by_source(operations)
    total = sum(group.bytes_moved for group in groups)
    lines = [f"{'GB':>8} {'in VMEM':>8} {'of all':>7} {'times':>6}  operation"]
    for group in groups[:most]:
        lines.append(
            f"{group.bytes_moved / 1e9:>8.3f} {group.fast_bytes / 1e9:>8.3f} {group.bytes_moved / total:>7.1%} "
            f"{group.count:>6}  {group.op}: {group.name}"
        )
    shown = sum(group.bytes_moved for group in groups[:most])
    lines.append(f"{total / 1e9:>8.3f} GB by the operands and results of all operations; {shown / total:.0%} is above")
    return "\n".join(lines)


def _gib(size: float) -> str:
    return f"{size / GIB:.3f} GiB"
