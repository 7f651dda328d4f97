"""Measure this machine in a few seconds and put it into the catalogue: products, memory, disk, loopback, training
steps; of its GPUs where it has some, else of its processor.

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

from ayllu.fleet.catalogue import THIS_MACHINE, Accelerator, Precision, cache_folder
from ayllu.fleet.planner.constants import shipped
from ayllu.fleet.planner.cost import step_time
from ayllu.fleet.planner.queries import model_columns, queries, rate_columns
from ayllu.lab.error import UserError
from ayllu.lab.progress import bar
from ayllu.model.config import ModelConfig
from ayllu.train.distributed.float8 import CAPABILITY, FORWARD
from ayllu.train.distributed.processes import device

PRODUCT_SIZE, GPU_PRODUCT_SIZE = 1024, 8192
"""Side of the square matrix products, as `ayllu.train.machine.matmul_speed` takes them."""
STREAM_BYTES, GPU_STREAM_BYTES = 256 * 2**20, 2**30
"""Larger than any cache of a laptop, and of a GPU."""
DISK_BYTES = 128 * 2**20
BF16_PAYS = 1.2
"""bf16 is used where its products are faster by this, as in `ayllu.train.budget`."""
TRAINING_LENGTH, GPU_TRAINING_LENGTH = 256, 2048
TRAINING_SHAPES = ((3, 128, 2, 1, 384), (4, 256, 4, 2, 704), (6, 384, 6, 2, 1024))
"""Layers, width, heads, key/value heads and feed-forward of the models whose training steps are timed."""
GPU_TRAINING_SHAPES = ((4, 1024, 16, 8, 2816), (4, 2048, 32, 8, 8192), (4, 4096, 32, 8, 14336))
"""The same on a GPU, which small models leave waiting; one that does not fit is left out."""
TRAINING_BATCHES, GPU_TRAINING_BATCHES = (4, 16), (2, 6)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """This machine's figures; of each GPU where it has some. Rates in TFLOP/s, bandwidths in GB/s, memory in GB."""

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
    gpus: int = 0
    float8_tflops: float | None = None
    """None where there are no such products."""
    link_gb_s: float | None = None
    """From one GPU to another; None where there are no two."""


def calibrate(*, training: bool = True, compiled: bool = False, power_w: float | None = None) -> Calibration:
    """Measure this machine and save the result; `power_w` is what the machine draws at work, where you know it.

    About twenty seconds with the training steps, four without, minutes when they are `compiled`. Raises UserError when
    the cache folder cannot be written, or nothing can be compiled here.
    """
    from ayllu.train.machine import compiler_available

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

    gpus = torch.cuda.device_count()
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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    name = platform.processor() or platform.machine()
    if gpus:
        memory, name = torch.cuda.get_device_properties(0).total_memory, torch.cuda.get_device_name(0)
    return Calibration(
        name=name if gpus else f"{name}, {os.cpu_count()} cores",
        date=date.today().isoformat(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gb=round(memory / 2**30, 2),
        fp32_tflops=_short(rates["float32"]),
        bf16_tflops=_short(rates["bf16"]),
        memory_gb_s=_short(stream),
        disk_write_gb_s=_short(write / 1e9),
        disk_read_gb_s=_short(read / 1e9),
        loopback_gb_s=_short(loopback),
        training_precision="bf16" if rates["bf16"] > BF16_PAYS * rates["float32"] else "float32",
        power_w=power_w,
        gpus=gpus,
        float8_tflops=_short(float8_rate() / 1e12) if gpus and float8_pays() else None,
        link_gb_s=_short(link_bandwidth() / 1e9) if gpus > 1 else None,
    )


def product_rate(dtype: object, *, size: int | None = None, seconds: float = 0.6) -> float:
    """FLOP/s of square matrix products of `size` in torch's `dtype`: the best of what fits into `seconds`."""
    import torch

    size = size or (GPU_PRODUCT_SIZE if torch.cuda.is_available() else PRODUCT_SIZE)
    a, b = (torch.randn(size, size, device=device()).to(dtype) for _ in range(2))  # type: ignore[call-overload]
    return 2 * size**3 / _least_seconds(lambda: a @ b, seconds)


def float8_pays() -> bool:
    """Whether the first GPU has products in 8 bits."""
    import torch

    return torch.cuda.get_device_capability() >= CAPABILITY


def float8_rate(*, size: int = GPU_PRODUCT_SIZE, seconds: float = 0.6) -> float:
    """FLOP/s of products in e4m3 on the first GPU, as `ayllu.train.distributed.float8` makes them forwards."""
    import torch

    a, b = (torch.randn(size, size, device=device()).to(FORWARD) for _ in range(2))
    one = torch.ones((), device=device())

    def multiply() -> object:
        return torch._scaled_mm(a, b.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True)

    return 2 * size**3 / _least_seconds(multiply, seconds)


def memory_bandwidth(*, seconds: float = 0.5) -> float:
    """Bytes/s read and written by a scaled copy of an array that no cache holds (STREAM's scale kernel)."""
    import torch

    if torch.cuda.is_available():
        held = torch.ones(GPU_STREAM_BYTES // 4, device=device())
        copy = torch.empty_like(held)
        return 2 * GPU_STREAM_BYTES / _least_seconds(lambda: torch.mul(held, 2.0, out=copy), seconds)
    source = np.ones(STREAM_BYTES // 8)
    target = np.empty_like(source)
    return 2 * STREAM_BYTES / _least_seconds(lambda: np.multiply(source, 2.0, out=target), seconds)


def link_bandwidth(*, seconds: float = 0.5) -> float:
    """Bytes/s of a copy from the first GPU to the second."""
    import torch

    source = torch.ones(GPU_STREAM_BYTES // 4, device="cuda:0")
    target = torch.empty_like(source, device="cuda:1")
    return GPU_STREAM_BYTES / _least_seconds(lambda: target.copy_(source), seconds)


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
    import torch

    factors, per_parameter = [], []
    batches = GPU_TRAINING_BATCHES if found.gpus else TRAINING_BATCHES
    for shape in GPU_TRAINING_SHAPES if found.gpus else TRAINING_SHAPES:
        model = _model(shape)
        try:
            small, large = (
                training_step(model, batch, found.training_precision, compiled=found.compiled) for batch in batches
            )
        except torch.OutOfMemoryError:
            continue
        growth = (large - small) / (batches[1] - batches[0])
        if growth < 0.5 * large / batches[1]:  # Another program got in the way: take all of it for compute.
            growth = large / batches[1]
        fixed = max(small - growth * batches[0], 0.0)
        per_parameter.append(fixed / model.parameters)
        predicted = predicted_seconds(model, found)
        factors.append((model.width, _short(growth / predicted)))
    fixed_each = _short(statistics.median(per_parameter)) if per_parameter else 0.0
    return replace(found, training=tuple(factors), optimizer_s_per_parameter=fixed_each)


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

    from ayllu.data.tokens.loader import Batch
    from ayllu.model.transformer import Transformer
    from ayllu.train.distributed.parallel_model import ParallelModel
    from ayllu.train.loop import make_deterministic
    from ayllu.train.machine import dtype_of
    from ayllu.train.optimizer import Optimizer, OptimizerConfig
    from ayllu.train.step import train_step

    make_deterministic()
    with device():
        model = Transformer(model_config)
    if torch.cuda.is_available():  # Drawn where they are: a processor would take longer than the steps.
        for weight in model.parameters():
            torch.nn.init.normal_(weight, 0.0, 0.02)
    else:
        model.initialise(0)
    length = training_length()
    parallel = ParallelModel(model, None, dtype=dtype_of(precision), compiled=compiled)
    optimizer = Optimizer(parallel.weights(), OptimizerConfig())
    ids = torch.randint(0, model_config.vocabulary, (batch, length + 1), generator=torch.Generator().manual_seed(0))
    given = Batch(ids[:, :-1], ids[:, 1:], torch.zeros(batch, length, dtype=torch.int32))
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        train_step(parallel, optimizer, given, 0.01)
        _finish()
        times.append(time.perf_counter() - began)
        if len(times) > 1 and sum(times[1:]) > limit:
            break
    return min(times[1:])


def training_length() -> int:
    """Ids in a row of the steps that are timed."""
    import torch

    return GPU_TRAINING_LENGTH if torch.cuda.is_available() else TRAINING_LENGTH


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
    from ayllu.fleet.planner.plan import OUR_SOFTWARE

    batches = GPU_TRAINING_BATCHES if found.gpus else TRAINING_BATCHES
    one, two = (
        step_time(
            queries(
                **model_columns(model, training_length()),
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
        for batch in batches
    )
    return float((two - one)[0]) / (batches[1] - batches[0])


def _model(shape: tuple[int, int, int, int, int]) -> ModelConfig:
    layers, width, heads, kv_heads, feed_forward = shape
    return ModelConfig(
        vocabulary=4096,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=feed_forward,
        context=2048,
        tied=True,
    )


def _least_seconds(work: Callable[[], object], seconds: float) -> float:
    work()
    _finish()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        began = time.perf_counter()
        work()
        _finish()
        times.append(time.perf_counter() - began)
    return min(times)


def _finish() -> None:
    """Wait for what GPUs were asked to do."""
    import torch

    for number in range(torch.cuda.device_count()):
        torch.cuda.synchronize(number)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
