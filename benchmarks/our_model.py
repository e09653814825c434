"""Our models for the benchmarks: forward pass, gradient, or the whole training step, with random parameters.

    python -m benchmarks.our_model --arch=mvitv2_s --batch=1 --mode=forward

Driven through `worker.Worker`. `--arch=product` is a 2048 x 2048 x 2048 product, the machine's matmul speed.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.worker import serve
from musclemap_jax.checkpoints.state import create_state
from musclemap_jax.cost.flops import model_multiply_adds
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.models.skeleton.ctrgcn import CTRGCNSpec
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.skeleton.stgcn import STGCNSpec
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.models.video.mvit import MVITV2_B, MVITV2_S
from musclemap_jax.models.video.swin import SWIN_B, SWIN_S, SWIN_T
from musclemap_jax.pretrained.published import branch_model
from musclemap_jax.runtime.compilation_cache import use_compilation_cache
from musclemap_jax.runtime.heap import keep_freed_memory, tidy_heap
from musclemap_jax.sharding.mesh import make_mesh
from musclemap_jax.taxonomy import NUM_REGIONS
from musclemap_jax.train.objective import ObjectiveSpec, objective
from musclemap_jax.train.optimizer import OptimizerSpec, make_optimizer, make_schedule
from musclemap_jax.train.step import compile_train_step, make_train_step
from musclemap_jax.train.training_loss import TrainingLoss

PRODUCT_SIZE = 2048
MODES = ("forward", "train", "step")
HDGCN_INPUT = InputSpec(num_poses=64, num_persons=1)
"""Input of the published numbers: (4, 3, 64, 25, 1) with a batch of 4."""

GCN_INPUT = InputSpec(num_poses=100, num_persons=2, layout="coco17")
"""Clips of pyskl."""

ARCHITECTURES = {
    "mvitv2_s": (branch_model("video", backbones={"mvit": MVITV2_S}), InputSpec()),
    "mvitv2_b": (branch_model("video", backbones={"mvit": MVITV2_B}), InputSpec(num_frames=32)),
    "transm3e": (ModelSpec(), InputSpec()),
    **{
        name: (branch_model("swin", backbones={"swin": spec}), InputSpec(num_frames=16))
        for name, spec in (("swin3d_t", SWIN_T), ("swin3d_s", SWIN_S), ("swin3d_b", SWIN_B))
    },
    **{name: (branch_model(name), InputSpec(num_frames=8)) for name in ("c2d", "i3d", "slow")},
    "slowfast": (branch_model("slowfast"), InputSpec(num_frames=32)),
    "stgcn": (branch_model("stgcn", backbones={"stgcn": STGCNSpec(layout="coco17")}), GCN_INPUT),
    "ctrgcn": (branch_model("ctrgcn", backbones={"ctrgcn": CTRGCNSpec(layout="coco17")}), GCN_INPUT),
    "hdgcn": (branch_model("skeleton", backbones={"hdgcn": HDGCNSpec(layout="ntu25")}), HDGCN_INPUT),
}


def example_batch(spec: InputSpec, num_joints: int, batch_size: int) -> dict[str, np.ndarray]:
    """A random batch of `batch_size` clips; see `data.batch.Batch`."""
    rng = np.random.default_rng(0)
    poses = (batch_size, spec.num_poses, spec.num_persons)
    clip = (batch_size, 1, spec.num_frames, spec.crop_size, spec.crop_size, 3)
    return {
        "video": rng.integers(0, 256, clip, dtype=np.uint8),
        "skeleton": rng.standard_normal((*poses, num_joints, 3)).astype(np.float32),
        "skeleton_valid": np.ones(poses, bool),
        "muscles": np.ones((batch_size, NUM_REGIONS), np.float32),
        "clip_valid": np.ones(batch_size, bool),
        "clip_index": np.arange(batch_size, dtype=np.int32),
    }


def num_joints(spec: ModelSpec) -> int:
    """Joints that a model's skeleton branch takes; any number if it has none."""
    graphs = [BRANCHES[name].backbone.graph(spec.architecture(name)) for name in spec.branches]
    return next((graph.num_joints for graph in graphs if graph is not None), 1)


def variable_shapes(model: TransM3E, batch: dict[str, np.ndarray]) -> Any:
    """The model's variables as shapes and dtypes, made without compiling or running the initialisation."""
    return jax.eval_shape(lambda b: model.init(jax.random.key(0), b, distil=True), batch)


def random_variables(model: TransM3E, batch: dict[str, np.ndarray]) -> dict[str, Any]:
    """Random parameters N(0, 0.02) and batch statistics of 1."""
    rng = np.random.default_rng(0)
    shapes = variable_shapes(model, batch)
    stats = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes.get("batch_stats", {}))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.02, leaf.shape), leaf.dtype), shapes["params"])
    return {"params": params, "batch_stats": stats}


def compilation_times(function: Any, *arguments: Any) -> dict[str, float]:
    """Measures seconds of lowering, of compilation, and of both again from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        user_folder = jax.config.jax_compilation_cache_dir  # ty: ignore[missing-attribute]  # made at run time
        _use_cache(folder)
        times = [time.perf_counter()]
        lowered = function.lower(*arguments)
        times.append(time.perf_counter())
        lowered.compile()
        times.append(time.perf_counter())
        jax.clear_caches()
        function.lower(*arguments).compile()
        times.append(time.perf_counter())
        _use_cache(user_folder)
    names = ("lowering_s", "compilation_s", "both_from_cache_s")
    return {name: round(end - start, 2) for name, start, end in zip(names, times[:-1], times[1:], strict=True)}


def _use_cache(folder: str | None) -> None:
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", folder)


def _forward(model: TransM3E, variables: dict[str, Any], batch: dict[str, Any]) -> jax.Array:
    return cast(ModelOutput, model.apply(variables, batch)).logits


def _gradient(model: TransM3E, variables: dict[str, Any], batch: dict[str, Any]) -> Any:
    def loss(params: Any) -> jax.Array:
        output, _ = model.apply(
            variables | {"params": params},
            batch,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )
        return objective(output, batch["muscles"], batch["clip_valid"], ObjectiveSpec())[0]

    return jax.grad(loss)(variables["params"])


def _of_model(model: TransM3E, batch: dict[str, Any], mode: str) -> tuple[Callable[[], object], dict[str, float]]:
    variables = random_variables(model, batch)
    function = _forward if mode == "forward" else _gradient
    start = time.perf_counter()
    program = jax.jit(functools.partial(function, model)).lower(variables, batch).compile()
    facts = {"program_s": round(time.perf_counter() - start, 2)}  # if the command ran before, from the cache
    tidy_heap()  # as the main job does
    return lambda: jax.block_until_ready(program(variables, batch)), facts | _temporaries(program)


def _temporaries(program: jax.stages.Compiled) -> dict[str, float]:
    memory: Any = program.memory_analysis()
    return {"temporaries_gib": round(memory.temp_size_in_bytes / 2**30, 2)}


def _of_step(model: TransM3E, batch: dict[str, Any]) -> tuple[Callable[[], object], dict[str, float]]:
    """The training step of the main job, with optimizer and moving average; its state is donated."""
    mesh, spec = make_mesh({"data": 1, "fsdp": 1, "tensor": 1}), OptimizerSpec(ema_decay=0.999)
    optimizer, schedule = make_optimizer(spec), make_schedule(spec, 1000)
    start = time.perf_counter()
    state, shardings = create_state(model, optimizer, batch, 0, mesh, ema=True)
    jax.block_until_ready(state)
    facts = {"initialisation_s": round(time.perf_counter() - start, 2)}
    step = make_train_step(TrainingLoss(model), optimizer, schedule, spec.ema_decay)
    function = compile_train_step(step, shardings, mesh)
    facts |= compilation_times(function, state, batch)
    program = function.lower(state, batch).compile()
    tidy_heap()  # as the main job does
    held = [state]

    def run() -> None:
        held[0], metrics = program(held[0], batch)
        jax.block_until_ready(metrics)

    return run, facts | _temporaries(program)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=(*ARCHITECTURES, "product"), default="mvitv2_s")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--mode", choices=MODES, default="forward")
    parser.add_argument("--frames", type=int, help="replaces the architecture's own")
    parser.add_argument("--crop", type=int, help="replaces the architecture's own")
    arguments = parser.parse_args()
    keep_freed_memory()
    use_compilation_cache()
    if arguments.arch == "product":
        matrix = jnp.asarray(np.random.default_rng(0).standard_normal((PRODUCT_SIZE,) * 2), jnp.float32)
        product = jax.jit(jnp.matmul)
        serve(lambda: product(matrix, matrix).block_until_ready(), {"multiply_adds": PRODUCT_SIZE**3})
        return
    spec, inputs = ARCHITECTURES[arguments.arch]
    size = {"num_frames": arguments.frames, "crop_size": arguments.crop}
    inputs = InputSpec(**(vars(inputs) | {name: value for name, value in size.items() if value}))
    model = TransM3E(spec)
    batch = example_batch(inputs, num_joints(spec), arguments.batch)
    run, facts = _of_step(model, batch) if arguments.mode == "step" else _of_model(model, batch, arguments.mode)
    passes = 1 if arguments.mode == "forward" else 3
    facts |= {
        "multiply_adds": passes * arguments.batch * model_multiply_adds(spec, inputs),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variable_shapes(model, batch)["params"])),
    }
    serve(run, facts)


if __name__ == "__main__":
    main()
