"""The mesh that a function is compiled for, visible to the model while it is traced.

GSPMD partitions JAX's own operations over the mesh, but not hand-written kernels: such a kernel runs on each device's
own clips, so it has to know the mesh; and whether there are kernels depends on the devices, which need not be those of
this process. `with_mesh` makes the mesh visible to the trace; `over_clips` uses it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, PartitionSpec

from musclemap_jax.sharding.mesh import BATCH_AXES, batch_ways


def with_mesh(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, traced with the mesh as the current one."""

    @functools.wraps(function)
    def traced(*args: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args)

    return traced


def platform() -> str:
    """Platform that is compiled for, ``cpu``, ``gpu`` or ``tpu``: the current mesh's, or else JAX's default."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.abstract_device is None:
        return jax.default_backend()
    return mesh.abstract_device.platform


def kernels_for_tpu(num_clips: int) -> bool:
    """Whether the current mesh is of TPUs and its batch axes divide the clips, so that `over_clips` can be used."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and platform() == "tpu" and num_clips % batch_ways(mesh) == 0


def shards_widths() -> bool:
    """Whether the current mesh shards the widths of linear layers, whose kernels then lie in parts on the devices."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.shape.get("tensor", 1) > 1


def vmem_capacity(num_clips: int) -> int:
    """Bytes of fast memory (VMEM) of a core of the current mesh's TPUs; 0 if `kernels_for_tpu` does not hold."""
    return pltpu.get_tpu_info().vmem_capacity_bytes if kernels_for_tpu(num_clips) else 0


def over_clips(function: Callable[..., Any], arrays: Sequence[jax.Array], shared: Sequence[jax.Array] = ()) -> Any:
    """Calls a function of both kinds of arrays on each device's own clips; `kernels_for_tpu` must hold.

    The first axis of `arrays`, which are sharded over the mesh's batch axes, and of the results is clips; `shared` ones
    are replicated on every device. Only the operands are kept for the backward pass, which traces the function again:
    it should be one whose own backward pass needs nothing else.
    """
    clips, whole = PartitionSpec(BATCH_AXES), PartitionSpec()
    # The results of a kernel do not say over which mesh axes they vary.
    shard = functools.partial(jax.shard_map, check_vma=False)

    @jax.custom_vjp
    def call(arrays: tuple[jax.Array, ...], shared: tuple[jax.Array, ...]) -> Any:
        return shard(lambda arrays, shared: function(*arrays, *shared), in_specs=(clips, whole), out_specs=clips)(
            arrays, shared
        )

    # Written out, because JAX would sum the arrays' gradients over the mesh axes that do not shard them. An axis of one
    # device would be summed too, which copies them.
    def backward(operands: tuple[Any, Any], gradients: Any) -> tuple[Any, Any]:
        def local(operands: tuple[Any, Any], gradients: Any) -> tuple[Any, Any]:
            _, transpose = jax.vjp(lambda arrays, shared: function(*arrays, *shared), *operands)
            of_arrays, of_shared = transpose(gradients)
            return of_arrays, jax.lax.psum(of_shared, BATCH_AXES)

        return shard(local, in_specs=((clips, whole), clips), out_specs=(clips, whole))(operands, gradients)

    call.defvjp(lambda *operands: (call(*operands), operands), backward)
    return call(tuple(arrays), tuple(shared))
