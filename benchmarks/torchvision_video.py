"""The peers of video branches: torchvision's MViTv2-S and Video Swin, run by an interpreter with torch and torchvision.

    PEER_PYTHON -m benchmarks.torchvision_video --arch=mvitv2_s --batch=1 --mode=forward

Driven through `worker.Worker`.
"""

from __future__ import annotations

import argparse

import torch
import torchvision

from benchmarks.worker import serve

NUM_CLASSES = 20


ARCHITECTURES = ("mvitv2_s", "swin3d_t")


def build(arch: str, frames: int, crop: int) -> torch.nn.Module:
    """The model for clips of ``frames`` frames of ``crop`` x ``crop`` pixels; relative positions are interpolated."""
    if arch == "swin3d_t":
        return torchvision.models.video.swin3d_t(num_classes=NUM_CLASSES)
    model = torchvision.models.video.mvit_v2_s(num_classes=NUM_CLASSES)
    grid = -(-frames // 2), -(-crop // 4), -(-crop // 4)
    model.pos_encoding.temporal_size, model.pos_encoding.spatial_size = grid[0], grid[1:]
    return model


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=ARCHITECTURES, default="mvitv2_s")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--mode", choices=("forward", "train"), default="forward")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = build(arguments.arch, arguments.frames, arguments.crop).train(arguments.mode == "train")
    clip = torch.randn(arguments.batch, 3, arguments.frames, arguments.crop, arguments.crop)
    target = torch.ones(arguments.batch, NUM_CLASSES)

    def forward() -> None:
        with torch.inference_mode():
            model(clip)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        torch.nn.functional.binary_cross_entropy_with_logits(model(clip), target).backward()

    serve(
        forward if arguments.mode == "forward" else train,
        {"torch": torch.__version__, "torchvision": torchvision.__version__, "threads": torch.get_num_threads()},
    )


if __name__ == "__main__":
    main()
