"""CAM++ (Wang et al. 2023, https://arxiv.org/abs/2303.00332): from speech to 192 numbers that tell who speaks.

Shapes: T frames, M mel bands, C channels, E numbers of a voice.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ayllu.device.audio.fbank import fbank
from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples
from ayllu.device.models import CAMPPLUS, read
from ayllu.lab.error import UserError

BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Dense layers of each block, and how far apart the frames are that one of them sees."""
SEGMENT = 100
"""Frames that share a context."""
EPSILON = 1e-5
SHORTEST = 0.3
"""Seconds below which there is no voice to tell."""


class CamPlus:
    """The network on the processor; what it makes of a voice has length one."""

    name = CAMPPLUS.name

    def __init__(self, cache: Path) -> None:
        data = io.BytesIO(read(CAMPPLUS, cache)["model"])
        try:
            self._weights: dict[str, Tensor] = torch.load(data, map_location="cpu", weights_only=True)
            self.of(np.zeros(RATE, np.float32))
        except (RuntimeError, KeyError, TypeError) as error:
            raise UserError(f"the weights of {self.name} are not what they should be ({error})") from error

    @torch.inference_mode()
    def of(self, audio: Samples) -> Samples:
        """The voice in a piece of sound at 16 kHz, E numbers; silence is put behind what is too short."""
        padded = np.pad(audio, (0, max(0, int(SHORTEST * RATE) - len(audio))))
        x_CT = self._head(torch.from_numpy(fbank(padded)))
        x_CT = self._conv("xvector.tdnn.linear", x_CT, stride=2, padding=2)
        x_CT = self._normal("xvector.tdnn.nonlinear.batchnorm", x_CT).relu()
        for number, (layers, apart) in enumerate(BLOCKS, 1):
            for layer in range(1, layers + 1):
                grown = self._dense(f"xvector.block{number}.tdnnd{layer}", x_CT, apart)
                x_CT = torch.cat([x_CT, grown])
            x_CT = self._normal(f"xvector.transit{number}.nonlinear.batchnorm", x_CT).relu()
            x_CT = self._conv(f"xvector.transit{number}.linear", x_CT)
        x_CT = self._normal("xvector.out_nonlinear.batchnorm", x_CT).relu()
        statistics = torch.cat([x_CT.mean(-1), x_CT.std(-1)])[:, None]
        voice_E = self._conv("xvector.dense.linear", statistics)
        voice_E = self._normal("xvector.dense.nonlinear.batchnorm", voice_E)[:, 0]
        return np.asarray(functional.normalize(voice_E, dim=0).numpy(), np.float32)

    def _head(self, energies_TM: Tensor) -> Tensor:
        """Residual convolutions over time and frequency, which become channels; 2-D means channels, bands and time."""
        x = self._normal("head.bn1", self._conv("head.conv1", energies_TM.T[None], padding=1)).relu()
        for layer in ("head.layer1.0", "head.layer1.1", "head.layer2.0", "head.layer2.1"):
            stride = (2, 1) if layer.endswith("0") else (1, 1)
            y = self._normal(f"{layer}.bn1", self._conv(f"{layer}.conv1", x, stride=stride, padding=1)).relu()
            y = self._normal(f"{layer}.bn2", self._conv(f"{layer}.conv2", y, padding=1))
            if f"{layer}.shortcut.0.weight" in self._weights:
                x = self._normal(f"{layer}.shortcut.1", self._conv(f"{layer}.shortcut.0", x, stride=stride))
            x = (x + y).relu()
        x = self._normal("head.bn2", self._conv("head.conv2", x, stride=(2, 1), padding=1)).relu()
        return x.flatten(0, 1)

    def _dense(self, name: str, x_CT: Tensor, apart: int) -> Tensor:
        """What a layer adds: a convolution, weighed by what stands around and in the whole."""
        x_CT = self._conv(f"{name}.linear1", self._normal(f"{name}.nonlinear1.batchnorm", x_CT).relu())
        x_CT = self._normal(f"{name}.nonlinear2.batchnorm", x_CT).relu()
        local = self._conv(f"{name}.cam_layer.linear_local", x_CT, padding=apart, dilation=apart)
        around = functional.avg_pool1d(x_CT[None], SEGMENT, SEGMENT, ceil_mode=True)[0]
        around = around.repeat_interleave(SEGMENT, -1)[:, : x_CT.shape[-1]]
        context = x_CT.mean(-1, keepdim=True) + around
        weight = self._conv(f"{name}.cam_layer.linear2", self._conv(f"{name}.cam_layer.linear1", context).relu())
        return local * weight.sigmoid()

    def _conv(
        self, name: str, x: Tensor, *, stride: int | tuple[int, int] = 1, padding: int = 0, dilation: int = 1
    ) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias")
        convolve = functional.conv2d if weight.dim() == 4 else functional.conv1d
        return convolve(x[None], weight, bias, stride, padding, dilation)[0]

    def _normal(self, name: str, x: Tensor) -> Tensor:
        mean, variance = self._weights[f"{name}.running_mean"], self._weights[f"{name}.running_var"]
        weight, bias = self._weights.get(f"{name}.weight"), self._weights.get(f"{name}.bias")
        return functional.batch_norm(x[None], mean, variance, weight, bias, eps=EPSILON)[0]
