"""The peers of our models in PyTorch: torchvision's, or the published code, in an interpreter of their own.

    PEER_PYTHON -m benchmarks.peers --arch=slowfast --published=CHECKOUTS --batch=1 --mode=forward

Driven through `worker.Worker`. What PEER_PYTHON and CHECKOUTS need is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path

import torch
from torch import nn

from benchmarks.worker import serve

NUM_CLASSES = 20

TORCHVISION = {"mvitv2_s": "mvit_v2_s", "swin3d_t": "swin3d_t", "swin3d_s": "swin3d_s", "swin3d_b": "swin3d_b"}
SLOWFAST = {
    "c2d": "C2D_8x8_R50",
    "i3d": "I3D_8x8_R50",
    "slow": "SLOW_8x8_R50",
    "slowfast": "SLOWFAST_8x8_R50",
    "mvitv2_b": "MVITv2_B_32x3",
}
PYSKL = {"stgcn": ("STGCN", "stgcn_spatial"), "ctrgcn": ("CTRGCN", "spatial")}
ARCHITECTURES = (*TORCHVISION, *SLOWFAST, *PYSKL, "hdgcn")


class PackedClips(nn.Module):
    """PySlowFast's model for a clip: it takes a list with one tensor for each pathway.

    The slow pathway's frames are every ``alpha``-th ones of a whole grid, as `pack_pathway_output` picks them.
    """

    def __init__(self, model: nn.Module, alpha: int | None) -> None:
        super().__init__()
        self.model, self.alpha = model, alpha

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        if self.alpha is None:
            return self.model([clip])
        frames = clip.shape[2]
        slow = torch.linspace(0, frames - 1, frames // self.alpha).long()
        return self.model([clip.index_select(2, slow), clip])


def torchvision_model(arch: str, frames: int, crop: int) -> nn.Module:
    """The model for clips of ``frames`` frames of ``crop`` x ``crop`` pixels; relative positions are interpolated."""
    from torchvision.models import video

    model = getattr(video, TORCHVISION[arch])(num_classes=NUM_CLASSES)
    if arch == "mvitv2_s":
        grid = -(-frames // 2), -(-crop // 4), -(-crop // 4)
        model.pos_encoding.temporal_size, model.pos_encoding.spatial_size = grid[0], grid[1:]
    return model


def slowfast_model(arch: str, frames: int, crop: int, checkout: Path) -> nn.Module:
    """PySlowFast's model, from its configuration of Kinetics-400."""
    # Its detection heads, which no classifier builds, import this package, which is on no index.
    layers = types.ModuleType("detectron2.layers")
    layers.ROIAlign = None
    sys.modules |= {"detectron2": types.ModuleType("detectron2"), "detectron2.layers": layers}
    sys.path.insert(0, str(checkout))
    from slowfast.config.defaults import get_cfg
    from slowfast.models import build_model

    config = get_cfg()
    config.merge_from_file(str(checkout / "configs" / "Kinetics" / f"{SLOWFAST[arch]}.yaml"))
    config.merge_from_list(["NUM_GPUS", 0, "MODEL.NUM_CLASSES", NUM_CLASSES, "DATA.NUM_FRAMES", frames])
    config.merge_from_list(["DATA.TRAIN_CROP_SIZE", crop, "DATA.TEST_CROP_SIZE", crop])
    return PackedClips(build_model(config), config.SLOWFAST.ALPHA if arch == "slowfast" else None)


def pyskl_model(arch: str, checkout: Path) -> nn.Module:
    """pyskl's network for the 17 joints of COCO, with its head; takes (batch, persons, poses, joints, 3)."""
    sys.path.insert(0, str(checkout))
    from pyskl.models import gcns
    from pyskl.models.heads import GCNHead

    name, graph = PYSKL[arch]
    backbone = getattr(gcns, name)(graph_cfg={"layout": "coco", "mode": graph})
    return nn.Sequential(backbone, GCNHead(num_classes=NUM_CLASSES, in_channels=256))


def hdgcn_model(checkout: Path) -> nn.Module:
    """HD-GCN of the authors' code for one person of 25 joints; takes (batch, 3, poses, joints, persons)."""
    sys.path.insert(0, str(checkout))
    # The package's own __init__ imports modules that were not published.
    package = types.ModuleType("graph")
    package.__path__ = [str(checkout / "graph")]
    sys.modules["graph"] = package
    importlib.import_module("graph.ntu_rgb_d_hierarchy")
    from model.HDGCN import Model

    # It makes indices on CUDA device number `tensor.get_device()`, which is -1 for the CPU.
    torch.Tensor.get_device = lambda tensor: tensor.device
    graph = {"labeling_mode": "spatial", "CoM": 1}
    name = "graph.ntu_rgb_d_hierarchy.Graph"
    return Model(num_class=NUM_CLASSES, num_point=25, num_person=1, graph=name, graph_args=graph)


def build(arch: str, frames: int, crop: int, published: Path | None) -> nn.Module:
    """The peer of `our_model.ARCHITECTURES[arch]`.

    Args:
      arch: One of `ARCHITECTURES`.
      frames: Frames of a clip.
      crop: Height and width of a frame in pixels.
      published: Folder with the checkouts `SlowFast`, `pyskl` and `HD-GCN`; torchvision's models need none.
    """
    if arch in TORCHVISION:
        return torchvision_model(arch, frames, crop)
    if published is None:
        raise SystemExit(f"--arch={arch} is in no package: pass --published=FOLDER with the published code.")
    if arch in SLOWFAST:
        return slowfast_model(arch, frames, crop, published / "SlowFast")
    return pyskl_model(arch, published / "pyskl") if arch in PYSKL else hdgcn_model(published / "HD-GCN")


def example_input(arch: str, batch: int, frames: int, crop: int) -> torch.Tensor:
    """Random clips or skeletons of the sizes that our model is timed with."""
    if arch in PYSKL:
        return torch.randn(batch, 2, 100, 17, 3)
    return torch.randn(batch, 3, 64, 25, 1) if arch == "hdgcn" else torch.randn(batch, 3, frames, crop, crop)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=ARCHITECTURES, default="mvitv2_s")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--mode", choices=("forward", "train"), default="forward")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--published", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build(arguments.arch, arguments.frames, arguments.crop, arguments.published)
    model.train(arguments.mode == "train")
    inputs = example_input(arguments.arch, arguments.batch, arguments.frames, arguments.crop)
    target = torch.ones(arguments.batch, NUM_CLASSES)

    def forward() -> None:
        with torch.inference_mode():
            model(inputs)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        nn.functional.binary_cross_entropy_with_logits(model(inputs).reshape(target.shape), target).backward()

    parameters = sum(parameter.numel() for parameter in model.parameters())
    serve(
        forward if arguments.mode == "forward" else train,
        {"torch": torch.__version__, "threads": torch.get_num_threads(), "parameters": parameters},
    )


if __name__ == "__main__":
    main()
