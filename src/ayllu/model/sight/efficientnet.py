"""EfficientNet-Lite0 without its classifier (Tan and Le, arXiv:1905.11946; the lite variant of tensorflow/tpu): frozen.

Batch norms are folded into the convolutions, as nothing is trained here. Shapes: B pictures, 3 of red, green and blue,
H rows, W columns, C channels, I image tokens, F features of one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 224
"""Pixels of a side of what goes in."""
CELLS = 7
"""Rows, and columns, of the cells that a picture is told in: one image token each."""
TOKENS = CELLS * CELLS
# Stride, whether a block widens first, channels and repeats of each part (arXiv:1905.11946, table 1; lite: without
# squeeze and excitation, ReLU6).
PARTS = (
    (1, False, 16, 1),
    (2, True, 24, 2),
    (2, True, 40, 2),
    (2, True, 80, 3),
    (1, True, 112, 3),
    (2, True, 192, 4),
    (1, True, 320, 1),
)
STEM = 32
FINE = 10
"""The last block with 14 x 14 places, whose output is told beside that of the last of all, with 7 x 7."""
TINTS = 4
"""A cell's mean colour is told in so many rows and columns: what the network knows of a colour alone is little."""
FEATURES = 112 * 4 + 320 + 3 * TINTS * TINTS
EPSILON = 1e-3


class Convolution(nn.Module):
    """A convolution with the batch norm behind it folded in: weight (out, in / groups, k, k) and bias."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, *, stride: int, grouped: bool, bounded: bool) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.stride, self.groups, self.bounded = stride, len(weight) if grouped else 1, bounded

    def forward(self, x_BCHW: Tensor) -> Tensor:
        kernel, size = self.weight.shape[-1], x_BCHW.shape[-1]
        # TensorFlow's "same": where the padding is odd, the right and the bottom have one more.
        pad = max((-(-size // self.stride) - 1) * self.stride + kernel - size, 0)
        x = F.pad(x_BCHW, (pad // 2, pad - pad // 2) * 2) if pad else x_BCHW
        y = F.conv2d(x, self.weight, self.bias, stride=self.stride, groups=self.groups)
        return y.clamp(0, 6) if self.bounded else y


class Block(nn.Module):
    """An inverted residual: wider, each channel by itself, narrower; added to what came in where the shapes agree."""

    def __init__(self, convolutions: list[Convolution], *, residual: bool) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*convolutions)
        self.residual = residual

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW: Tensor = self.convolutions(x_BCHW)
        return x_BCHW + y_BCHW if self.residual else y_BCHW


class EfficientNetLite(nn.Module):
    """Pictures to features of 7 x 7 cells."""

    def __init__(self, published: Mapping[str, Tensor]) -> None:
        """`published` has the names of the package efficientnet-lite-pytorch. Raises KeyError where one is missing."""
        super().__init__()
        self.stem = _folded(published, "_conv_stem", "_bn0", stride=2, bounded=True)
        self.blocks = nn.ModuleList()
        inputs = STEM
        for stride, expansion, channels, repeats in PARTS:
            for number in range(repeats):
                name, step = f"_blocks.{len(self.blocks)}", stride if number == 0 else 1
                wider = [_folded(published, f"{name}._expand_conv", f"{name}._bn0", bounded=True)] if expansion else []
                each = _folded(
                    published, f"{name}._depthwise_conv", f"{name}._bn1", stride=step, grouped=True, bounded=True
                )
                narrower = _folded(published, f"{name}._project_conv", f"{name}._bn2")
                self.blocks.append(Block([*wider, each, narrower], residual=step == 1 and inputs == channels))
                inputs = channels
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def features(self, pixels_BHW3: Tensor) -> Tensor:
        """Features (B, I, F) of pictures (B, 224, 224, 3) of bytes, row by row of their cells."""
        x_B3HW = (pixels_BHW3.float().permute(0, 3, 1, 2) - 127.0) / 128.0
        tints = F.adaptive_avg_pool2d(x_B3HW, CELLS * TINTS)
        x = self.stem(x_B3HW)
        for block in self.blocks[: FINE + 1]:
            x = block(x)
        fine = x
        for block in self.blocks[FINE + 1 :]:
            x = block(x)
        told = [F.pixel_unshuffle(fine, 2), x, F.pixel_unshuffle(tints, TINTS)]
        return torch.cat(told, 1).flatten(2).transpose(1, 2)


def _folded(
    published: Mapping[str, Tensor],
    convolution: str,
    norm: str,
    *,
    stride: int = 1,
    grouped: bool = False,
    bounded: bool = False,
) -> Convolution:
    weight, scale = published[f"{convolution}.weight"], published[f"{norm}.weight"]
    mean, variance = published[f"{norm}.running_mean"], published[f"{norm}.running_var"]
    factor = scale * torch.rsqrt(variance + EPSILON)
    bias = published[f"{norm}.bias"] - mean * factor
    return Convolution(weight * factor[:, None, None, None], bias, stride=stride, grouped=grouped, bounded=bounded)
