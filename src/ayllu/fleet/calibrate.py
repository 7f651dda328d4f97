"""Measure this machine in a few seconds and put it into the catalogue: products, memory, disk, loopback, training
steps.

The figures go to `$AYLLU_CACHE` (or `~/.cache/ayllu`) as `fleet/this-machine.json`; nothing leaves the machine.
"""

from __future__ import annotations

import json
import math
import os
import platform
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from ayllu.fleet.cases import cases, model_columns, rate_columns
from ayllu.fleet.catalogue import THIS_MACHINE, Accelerator, Precision, cache_folder
from ayllu.fleet.constants import shipped
from ayllu.fleet.cost import step_time
from ayllu.lab.error import UserError
from ayllu.lab.progress import bar
from ayllu.model.config import ModelConfig

PRODUCT_SIZE = 1024
"""Side of the square matrix products, as `ayllu.train.machine.matrix_rate` takes them."""
STREAM_BYTES = 256 * 2**20
"""Larger than any cache of a laptop."""
DISK_BYTES = 128 * 2**20
BF16_PAYS = 1.2
"""bf16 is used where its products are faster by this, as in `ayllu.train.budget`."""
TRAINING_LENGTH = 256
TRAINING_SHAPES = ((3, 128, 2, 1, 384), (4, 256, 4, 2, 704), (6, 384, 6, 2, 1024))
"""Layers, width, heads, key/value heads and feed-forward of the models whose training steps are timed."""
TRAINING_BATCHES = (4, 16)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """This machine's figures. Rates in TFLOP/s, bandwidths in GB/s, memory in GB."""

    name: str
    date: str
    cores: int
    threads: int
    memory_gb: float
    fp32_tflops: float
    bf16_tflops: float
    memory_gb_s: float
    disk_write_gb_s: float
    disk_read_gb_s: float
    """From the page cache where the system does not let it be dropped."""
    loopback_gb_s: float
    training_precision: Precision = "float32"
    """What `ayllu.train` computes products in here: bf16 where the processor is clearly faster at it."""
    compiled: bool = False
    """Whether the training steps were compiled, as `ayllu run` does from a budget of 1.5 minutes on."""
    training: tuple[tuple[int, float], ...] = ()
    """Width of the model, and measured over predicted seconds of a training step without the optimizer's."""
    optimizer_s_per_parameter: float = 0.0
    power_w: float | None = None


def calibrate(*, training: bool = True, compiled: bool = False, power_w: float | None = None) -> Calibration:
    """Measure this machine and save the result; `power_w` is what the machine draws at work, where you know it.

    About twenty seconds with the training steps, four without, minutes when they are `compiled`. Raises UserError when
    the cache folder cannot be written, or nothing can be compiled here.
    """
    from ayllu.train.loop import compiler_available

    if power_w is not None and not 0 < power_w < math.inf:
        raise UserError(f"calibrate: the power is {power_w:g} W; it must be above 0")
    if compiled and not compiler_available():
        raise UserError("calibrate: no C++ compiler was found; install one, or leave out --compiled")
    folder = cache_folder() / "fleet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with bar("calibrate", total=6 if training else 5, unit="measurements") as progress:
            found = _measure(folder, progress.advance, power_w)
            if training:
                found = _with_training(replace(found, compiled=compiled))
                progress.advance(note="training steps")
        path = folder / f"{THIS_MACHINE}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"calibrate: {folder} cannot be used ({error}); set AYLLU_CACHE to a folder that you can write to"
        ) from error
    return found


def _measure(folder: Path, advance: Callable[..., None], power_w: float | None) -> Calibration:
    import torch

    rates = {}
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        rates[name] = product_rate(dtype) / 1e12
        advance(note=f"{name} products")
    stream = memory_bandwidth() / 1e9
    advance(note="memory")
    write, read = disk_bandwidth(folder)
    advance(note="disk")
    loopback = loopback_bandwidth() / 1e9
    advance(note="loopback")
    return Calibration(
        name=f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        date=date.today().isoformat(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 2),
        fp32_tflops=_short(rates["float32"]),
        bf16_tflops=_short(rates["bf16"]),
        memory_gb_s=_short(stream),
        disk_write_gb_s=_short(write / 1e9),
        disk_read_gb_s=_short(read / 1e9),
        loopback_gb_s=_short(loopback),
        training_precision="bf16" if rates["bf16"] > BF16_PAYS * rates["float32"] else "float32",
        power_w=power_w,
    )


def product_rate(dtype: object, *, size: int = PRODUCT_SIZE, seconds: float = 0.6) -> float:
    """FLOP/s of square matrix products of `size` in torch's `dtype`: the best of what fits into `seconds`."""
    import torch

    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)  # type: ignore[call-overload]
    return 2 * size**3 / _least_seconds(lambda: a @ b, seconds)


def memory_bandwidth(*, seconds: float = 0.5) -> float:
    """Bytes/s read and written by a scaled copy of an array that no cache holds (STREAM's scale kernel)."""
    source = np.ones(STREAM_BYTES // 8)
    target = np.empty_like(source)
    return 2 * STREAM_BYTES / _least_seconds(lambda: np.multiply(source, 2.0, out=target), seconds)


def disk_bandwidth(folder: Path) -> tuple[float, float]:
    """Bytes/s of writing a file through to the disk below `folder`, and of reading it back."""
    block = os.urandom(2**20)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for _ in range(DISK_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter() - began
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        began = time.perf_counter()
        while file.read(2**20):
            pass
        return DISK_BYTES / written, DISK_BYTES / (time.perf_counter() - began)


def loopback_bandwidth(*, total: int = 512 * 2**20) -> float:
    """Bytes/s of one TCP stream from this machine to itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            with socket.create_connection(server.getsockname()) as sender:
                block = bytes(2**20)
                for _ in range(total // len(block)):
                    sender.sendall(block)

        thread = threading.Thread(target=send, daemon=True)
        began = time.perf_counter()
        thread.start()
        receiver, _ = server.accept()
        buffer, left = bytearray(2**20), total
        with receiver:
            while left > 0 and (got := receiver.recv_into(buffer)):
                left -= got
        thread.join()
        return total / (time.perf_counter() - began)


def _with_training(found: Calibration) -> Calibration:
    """Training steps of small models at two batch sizes: what grows with the batch is compute, what does not the
    optimizer."""
    factors, per_parameter = [], []
    for shape in TRAINING_SHAPES:
        model = _model(shape)
        small, large = (
            training_step(model, batch, found.training_precision, compiled=found.compiled) for batch in TRAINING_BATCHES
        )
        growth = (large - small) / (TRAINING_BATCHES[1] - TRAINING_BATCHES[0])
        if growth < 0.5 * large / TRAINING_BATCHES[1]:  # Another program got in the way: take all of it for compute.
            growth = large / TRAINING_BATCHES[1]
        fixed = max(small - growth * TRAINING_BATCHES[0], 0.0)
        per_parameter.append(fixed / model.parameters)
        predicted = predicted_seconds(model, found)
        factors.append((model.width, _short(growth / predicted)))
    return replace(found, training=tuple(factors), optimizer_s_per_parameter=_short(statistics.median(per_parameter)))


def training_step(
    model_config: ModelConfig,
    batch: int,
    precision: str = "float32",
    *,
    compiled: bool = False,
    repeats: int = 8,
    limit: float = 4.0,
) -> float:
    """Seconds of one step of `ayllu.train` on random tokens: the fastest after one to compile and warm up, for
    another program can only slow a step.

    After `limit` seconds no further step is started.
    """
    import torch

    from ayllu.data.loader import Batch
    from ayllu.model.transformer import Transformer
    from ayllu.train.loop import DTYPES, prepare
    from ayllu.train.optimizer import Optimizer, OptimizerConfig
    from ayllu.train.parallel import Spread
    from ayllu.train.step import train_step

    prepare()
    model = Transformer(model_config)
    model.initialise(0)
    spread = Spread(model, None, dtype=DTYPES[precision], compiled=compiled)
    optimizer = Optimizer(spread.weights(), OptimizerConfig())
    ids = torch.randint(
        0, model_config.vocabulary, (batch, TRAINING_LENGTH + 1), generator=torch.Generator().manual_seed(0)
    )
    given = Batch(ids[:, :-1], ids[:, 1:], torch.zeros(batch, TRAINING_LENGTH, dtype=torch.int32))
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        train_step(spread, optimizer, given, 0.01)
        times.append(time.perf_counter() - began)
        if len(times) > 1 and sum(times[1:]) > limit:
            break
    return min(times[1:])


def predicted_seconds(model: ModelConfig, found: Calibration) -> float:
    """Seconds that the cost model gives one more sequence of a batch on a machine with these figures, uncalibrated."""
    machine = Accelerator(
        id=THIS_MACHINE,
        name=found.name,
        peak_tflops={"bf16": found.bf16_tflops, "fp32": found.fp32_tflops},
        achieved_tflops={"bf16": found.bf16_tflops, "float32": found.fp32_tflops},
        memory_gb=found.memory_gb,
        memory_tb_s=found.memory_gb_s / 1000,
    )
    from ayllu.fleet.plan import OUR_SOFTWARE

    one, two = (
        step_time(
            cases(
                **model_columns(model, TRAINING_LENGTH),
                **rate_columns(machine, found.training_precision),
                **OUR_SOFTWARE,
                **dict.fromkeys(("tp", "cp", "pp", "virtual", "dp_shard", "dp_replicate", "oversubscription"), 1.0),
                micro_batch=batch,
                global_batch=batch,
                recompute=0.0,
                sharding=0.0,
                pod_size=1.0,
            ),
            shipped(),
        ).total
        for batch in TRAINING_BATCHES
    )
    return float((two - one)[0]) / (TRAINING_BATCHES[1] - TRAINING_BATCHES[0])


def _model(shape: tuple[int, int, int, int, int]) -> ModelConfig:
    layers, width, heads, kv_heads, feed_forward = shape
    return ModelConfig(
        vocabulary=4096,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=feed_forward,
        context=1024,
        tied=True,
    )


def _least_seconds(work: Callable[[], object], seconds: float) -> float:
    work()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
