"""The peers of ST-GCN and CTR-GCN: pyskl's own modules from a checkout, run by an interpreter with torch.

    PEER_PYTHON -m benchmarks.pyskl_gcn --arch=stgcn --checkout=pyskl --batch=4 --mode=forward

Only the files of the networks are imported; what they take of MMCV (a registry, and the norm and activation of that
name) is given here in its place. Driven through `worker.Worker`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path
from typing import Any

import torch

from benchmarks.worker import serve

NUM_CLASSES = 20
NUM_PERSONS, NUM_JOINTS, CHANNELS = 2, 17, 3
NETWORKS = {"stgcn": ("STGCN", "stgcn_spatial"), "ctrgcn": ("CTRGCN", "spatial")}
"""Architecture -> name of its class, and of its graph's edge sets."""


class Network(torch.nn.Module):
    """A network with pyskl's head: the mean over time, joints and persons, and a linear layer."""

    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, torch.nn.Linear(256, NUM_CLASSES)

    def forward(self, poses: torch.Tensor) -> torch.Tensor:
        """(N, M, T, V, C) to (N, classes)."""
        return self.head(self.backbone(poses).mean((3, 4)).mean(1))


def load_network(checkout: Path, arch: str) -> Network:
    """The network of a checkout, for the layout coco."""
    name, mode = NETWORKS[arch]
    _stand_in_for_mmcv()
    source = checkout / "pyskl"
    for package in ("pyskl", "pyskl.utils", "pyskl.models", "pyskl.models.gcns"):
        _module(package).__path__ = [str(source.joinpath(*package.split(".")[1:]))]
    registry = types.SimpleNamespace(register_module=lambda: lambda cls: cls)
    _module("pyskl.models.builder", BACKBONES=registry)
    graph = importlib.import_module("pyskl.utils.graph").Graph
    _module("pyskl.utils", Graph=graph, cache_checkpoint=None)
    network = getattr(importlib.import_module(f"pyskl.models.gcns.{arch}"), name)
    return Network(network({"layout": "coco", "mode": mode}))


def _stand_in_for_mmcv() -> None:
    def norm(settings: dict[str, Any], features: int) -> tuple[str, torch.nn.Module]:
        assert settings == {"type": "BN"}, settings
        return "bn", torch.nn.BatchNorm2d(features)

    def activation(settings: dict[str, Any]) -> torch.nn.Module:
        assert settings == {"type": "ReLU"}, settings
        return torch.nn.ReLU()

    _module("mmcv")
    _module("mmcv.cnn", build_norm_layer=norm, build_activation_layer=activation)
    _module("mmcv.runner", load_checkpoint=None)
    _module("mmcv.utils", _BatchNorm=torch.nn.modules.batchnorm._BatchNorm)


def _module(name: str, **attributes: Any) -> types.ModuleType:
    """A module of that name, made if it is not there, with some more attributes."""
    module = sys.modules.setdefault(name, types.ModuleType(name))
    vars(module).update(attributes)
    return module


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=NETWORKS, default="stgcn")
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--mode", choices=("forward", "train"), default="forward")
    parser.add_argument("--poses", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = load_network(arguments.checkout, arguments.arch).train(arguments.mode == "train")
    poses = torch.randn(arguments.batch, NUM_PERSONS, arguments.poses, NUM_JOINTS, CHANNELS)
    target = torch.ones(arguments.batch, NUM_CLASSES)

    def forward() -> None:
        with torch.inference_mode():
            network(poses)

    def train() -> None:
        network.zero_grad(set_to_none=True)
        torch.nn.functional.binary_cross_entropy_with_logits(network(poses), target).backward()

    parameters = sum(parameter.numel() for parameter in network.parameters())
    facts = {"torch": torch.__version__, "threads": torch.get_num_threads(), "parameters": parameters}
    serve(forward if arguments.mode == "forward" else train, facts)


if __name__ == "__main__":
    main()
