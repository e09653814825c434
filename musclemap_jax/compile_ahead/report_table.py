"""The compile-ahead report as a table."""

from __future__ import annotations

from musclemap_jax.compile_ahead.step_report import StepReport
from musclemap_jax.compile_ahead.topology import Topology

GIB = 2**30


def report_table(report: StepReport, title: str, topology: Topology) -> str:
    """The cost of one chip, a line each, under a head with the configuration's title."""
    hbm = topology.chip.hbm_bytes
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
    ]
    rows += [
        (f"sent by {kind}", f"{total.bytes_sent / 1e9:.3f} GB in {total.count} operations")
        for kind, total in report.collectives.items()
    ]
    rows.append(("compilation", f"{report.compile_s:.0f} s"))
    head = f"{title} on {topology.text}: {report.num_chips} chips ({axes}), {report.batch_size} clips a step; per chip"
    return "\n".join([head, *(f"  {name:<40}{value:>10}" for name, value in rows)])


def _gib(size: float) -> str:
    return f"{size / GIB:.3f} GiB"
