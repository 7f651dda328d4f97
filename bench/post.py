"""SFT, DPO and GRPO side by side with TRL: same model, data, adapter, precision and machine.

    python bench/post.py [--steps 4] [--rounds 3] [--env FOLDER] [--json] [--keep]

`sft` has conversations that share nothing; `sft-shared` six at a time that share the definitions of their tools, which
ours computes once and TRL six times, and all ids count for both. Both compute in bfloat16 where that is faster here,
else in float32.
The peers live in an environment of their own, which this script makes once. Runs alternate, ours, theirs, ours, theirs;
each is a process of its own that loads the model, does one step that is not timed, and then `--steps` timed ones.
Tokens are counted once, from the data, for both: prompt and answer of every example, padding left out. Both merge what
they learnt, and both models are scored by the same code on the same held-out examples. Either has its own optimizer,
AdamW there and Muon here. Each round draws another order of the data and other adapters for both sides; the difference
has a paired interval over examples.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.environments import python_with
from training.peers import PACKAGES

KINDS = ("sft", "sft-shared", "dpo", "grpo")
SIZES = {"sft": 12, "sft-shared": 12, "dpo": 8, "grpo": 4}
"""Conversations, pairs, and prompts (of 8 answers) in a step."""
GROUP, ANSWER = 8, 12
RATE = 2e-4
"""AdamW's, of TRL: one rate for all three, not tuned."""
OWN_RATES = {"sft": 3e-3, "sft-shared": 3e-3, "dpo": 2e-3, "grpo": 1e-3}
"""Muon's, of ours: for SFT what the recipe `smol` takes, for GRPO what it took before AdamW. For DPO the better of
two by the held-out pairs."""
RANK = 16
SHARED = 6
"""Conversations that stand in one row with their tools, as in the recipe."""
HELD, HELD_TASKS = 120, 128
"""Conversations with their pairs, and questions, that no step sees."""


def prepare(folder: Path, steps: int) -> None:
    """The model as a Hugging Face folder, and the data as text with its ids: the same for both sides."""
    import random

    from ayllu.data.archive import default_cache
    from ayllu.data.conversations.reasoning import distinct_items
    from ayllu.data.conversations.tool_requests import make_request_group, wrong_call
    from ayllu.recipes.adopt import adopt
    from ayllu.recipes.stages.methods import sums
    from ayllu.text.chat import Message, render, render_masked
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.rewards import ReasoningTasks, ask

    (folder / "model").symlink_to(adopt("smollm2").folder)
    tokenizer = Tokenizer.load(folder / "model")
    chance = random.Random(0)

    def answered(messages: list[Message], answer: Message, tools: Any) -> list[int]:
        ids, predict = render_masked([*messages, answer], tokenizer, tools=tools)
        return [i for i, p in zip(ids, predict, strict=True) if p]

    def conversations(count: int, together: int) -> list[dict[str, list[int]]]:
        """Requests for tools, so many at a time with the same tools, each with a right and a wrong call."""
        rows = []
        for _ in range(count // together):
            for request in make_request_group("train", together, chance):
                asked = [Message(role="user", content=request.text)]
                good = Message(role="assistant", tool_calls=request.calls)
                bad = Message(role="assistant", tool_calls=wrong_call(request, chance))
                rows.append(
                    {
                        "prompt": render(asked, tokenizer, tools=request.tools),
                        "chosen": answered(asked, good, request.tools),
                        "rejected": answered(asked, bad, request.tools),
                    }
                )
        return rows

    held, rows = conversations(HELD, 1), conversations((steps + 1) * SIZES["sft"], 1)
    shared = conversations((steps + 1) * SIZES["sft-shared"], SHARED)
    family = sums(default_cache())
    held_tasks = distinct_items(family, HELD_TASKS, held_out=True)
    known = ReasoningTasks([family], tokenizer)
    items = [known.item(index) for index in range((steps + 1) * SIZES["grpo"])]
    tasks = [
        {
            "prompt": render([Message(role="user", content=ask(item["question"]))], tokenizer),
            "answer": item["answer"],
            "question": item["question"],
        }
        for item in items
    ]
    data = {"rows": rows, "shared": shared, "held": held, "tasks": tasks, "held_tasks": held_tasks}
    (folder / "data.json").write_text(json.dumps(data))


def examples(data: dict[str, Any], kind: str, steps: int) -> list[dict[str, Any]]:
    """What `steps` steps see, after the one that is not timed."""
    rows = data[{"grpo": "tasks", "sft-shared": "shared"}.get(kind, "rows")]
    return rows[: (steps + 1) * SIZES[kind]]


def tokens_of(rows: list[dict[str, Any]], kind: str) -> int:
    """Ids of the examples, each sequence counted whole; of tasks the prompts, once for each answer."""
    if kind == "grpo":
        return sum(GROUP * len(row["prompt"]) for row in rows)
    sides = ("chosen", "rejected") if kind == "dpo" else ("chosen",)
    return sum(len(row["prompt"]) + len(row[side]) for row in rows for side in sides)


def ours(kind: str, folder: Path, steps: int, seed: int, precision: str, out: Path) -> dict[str, Any]:
    """One run of Ayllu."""
    import torch

    from ayllu.data.archive import default_cache
    from ayllu.model.files import hf
    from ayllu.recipes.stages.methods import sums
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.lora import LoraConfig, attach, detach
    from ayllu.train.objectives import dpo, grpo, sft
    from ayllu.train.objectives.rewards import ReasoningTasks
    from ayllu.train.optimizer import Optimizer, OptimizerConfig

    data = json.loads((folder / "data.json").read_text())
    rows, size = examples(data, kind, steps), SIZES[kind]
    model, tokenizer = hf.load(folder / "model"), Tokenizer.load(folder / "model")
    dtype = {"bf16": torch.bfloat16, "float32": torch.float32}[precision]
    began = time.perf_counter()
    source: Any
    if kind in ("sft", "sft-shared"):
        together = SHARED if kind == "sft-shared" else 1
        shared = [rows[i : i + together] for i in range(0, len(rows), together)]
        groups = [
            sft.with_shared_prefix(
                [(r["prompt"] + r["chosen"], [False] * len(r["prompt"]) + [True] * len(r["chosen"])) for r in same]
            )
            for same in shared
        ]
        source, objective, size = (
            sft.ConversationSource(groups, length=512, seed=seed),
            sft.conversation_loss,
            size // together,
        )
    elif kind == "dpo":
        pairs = [(r["prompt"], r["chosen"], r["rejected"]) for r in rows]
        known = dpo.reference_log_probabilities(model, pairs, length=512, dtype=dtype)
        source = dpo.PairSource(pairs, known, length=512, seed=seed)
        objective = dpo.dpo_loss(dpo.DPOConfig(beta=0.1))
    else:
        family = sums(default_cache())
        settings = grpo.GRPOConfig(group=GROUP, tokens=ANSWER)
        tasks = ReasoningTasks([family], tokenizer)
        source = grpo.RolloutSource(
            model,
            tasks,
            settings,
            length=256,
            stop=tokenizer.stops,
            seed=seed,
            dtype=dtype,
            journal=out / "rewards.jsonl",
        )
        objective = grpo.grpo_loss(settings)
    attach(model, LoraConfig(rank=RANK, alpha=2.0 * RANK), seed=seed)
    prepared = time.perf_counter() - began
    optimizer = Optimizer(dict(model.named_parameters()), OptimizerConfig(muon_lr=OWN_RATES[kind], weight_decay=0.0))
    times, answer_tokens = [], 0
    for step in range(steps + 1):
        began = time.perf_counter()
        batch = source.batch(step * size, size)
        (objective(model, batch, dtype) / batch.count).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    if kind == "grpo":
        lines = grpo.read_rewards(out / "rewards.jsonl")[1:]
        answer_tokens = round(sum(line["tokens"] for line in lines) * SIZES[kind] * GROUP)
    hf.save(out, detach(model, merge=True))
    # The reference of DPO is computed before the first step: its share of the timed steps counts.
    seconds = sum(times[1:]) + prepared * steps / (steps + 1)
    return {"seconds": seconds, "tokens": tokens_of(rows[SIZES[kind] :], kind) + answer_tokens}


def theirs(kind: str, folder: Path, steps: int, seed: int, precision: str, out: Path) -> dict[str, Any]:
    """One run of TRL, with its own trainers, in its own environment."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed

    data = json.loads((folder / "data.json").read_text())
    rows, size = examples(data, kind, steps), SIZES[kind]
    set_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    adapter = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    common: dict[str, Any] = {
        "output_dir": str(out / "trainer"),
        "max_steps": steps + 1,
        "per_device_train_batch_size": size,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "bf16": precision == "bf16",
        "use_cpu": True,
        "seed": seed,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }
    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            marks.append(time.perf_counter())

    text = tokenizer.decode
    lengths: list[int] = []
    if kind in ("sft", "sft-shared"):
        from trl import SFTConfig, SFTTrainer

        table = Dataset.from_list(
            [
                {
                    "input_ids": r["prompt"] + r["chosen"],
                    "completion_mask": [0] * len(r["prompt"]) + [1] * len(r["chosen"]),
                }
                for r in rows
            ]
        )
        config: Any = SFTConfig(**common, completion_only_loss=True, max_length=1024)
        trainer: Any = SFTTrainer(
            model=model, args=config, train_dataset=table, processing_class=tokenizer, peft_config=adapter
        )
    elif kind == "dpo":
        from trl import DPOConfig, DPOTrainer

        table = Dataset.from_list([{name: text(r[name]) for name in ("prompt", "chosen", "rejected")} for r in rows])
        config = DPOConfig(**common, beta=0.1, max_length=1024)
        trainer = DPOTrainer(
            model=model, args=config, train_dataset=table, processing_class=tokenizer, peft_config=adapter
        )
    else:
        from trl import GRPOConfig, GRPOTrainer

        sys.path.insert(0, str(folder))
        from bench_rewards import reward

        def rewards(completions: list[str], answer: list[str], completion_ids: Any, **more: Any) -> list[float]:
            lengths.append(sum(len(ids) for ids in completion_ids))
            return [reward(completion, right) for completion, right in zip(completions, answer, strict=True)]

        table = Dataset.from_list([{"prompt": text(r["prompt"]), "answer": r["answer"]} for r in rows])
        config = GRPOConfig(
            **(common | {"per_device_train_batch_size": size * GROUP}),
            num_generations=GROUP,
            max_completion_length=ANSWER,
            beta=0.0,
            temperature=1.0,
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=rewards,
            args=config,
            train_dataset=table,
            processing_class=tokenizer,
            peft_config=adapter,
        )
    trainer.add_callback(Clock())
    trainer.train()
    trainer.model.merge_and_unload().save_pretrained(out)
    return {
        "seconds": marks[-1] - marks[0],
        "tokens": tokens_of(rows[size:], kind) + sum(lengths[1:]),
    }


REWARDS = '''
import re
FORM = re.compile(r"\\s*<answer>\\s*(.*?)\\s*</answer>\\s*", re.DOTALL)
NUMBER = re.compile(r"-?\\d[\\d,]*(?:\\.\\d+)?")

def reward(text, right):
    """The reward of ayllu.train.objectives.rewards.grade, without its package."""
    form = FORM.fullmatch(text)
    numbers = NUMBER.findall(text)
    answer = form[1] if form else numbers[-1] if numbers else None
    return float(answer == right) + 0.2 * (form is not None)
'''


def score(kind: str, folder: Path, precision: str, out: Path) -> list[float]:
    """Of each held-out example, more is better: minus its nats per id, whether a pair is in the right order, whether
    an answer is right.
    """
    import torch

    from ayllu.data.archive import default_cache
    from ayllu.evals.skills.reasoning import score_reasoning
    from ayllu.model.files import hf
    from ayllu.recipes.stages.methods import sums
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.machine import dtype_of
    from ayllu.train.objectives.shared_prefix import pack_shared_prefix

    data, dtype = json.loads((folder / "data.json").read_text()), dtype_of(precision)
    model, tokenizer = hf.load(out), Tokenizer.load(folder / "model")
    if kind == "grpo":
        family = sums(default_cache())
        rows = score_reasoning(model, tokenizer, family, data["held_tasks"], dtype=dtype)
        return [float(row["correct"]) for row in rows]
    found: list[float] = []
    with torch.no_grad():
        for first in range(0, HELD, 24):
            pairs = data["held"][first : first + 24]
            held = pack_shared_prefix([(r["prompt"], (r["chosen"], r["rejected"])) for r in pairs], length=512)
            sums = held.by_continuation(held.log_probabilities(model, dtype)).view(-1, 2)
            each = sums[:, 0] > sums[:, 1] if kind == "dpo" else sums[:, 0] / held.lengths().view(-1, 2)[:, 0]
            found += each.double().tolist()
    return found


def compare(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Speeds, scores, and how much better ours are: over all rounds, with an interval over the examples."""
    from ayllu.evals.statistics import paired_bootstrap

    rates = {side: statistics.median(run["rate"] for run in found) for side, found in runs.items()}
    items = {
        side: [statistics.mean(each) for each in zip(*(run["items"] for run in found), strict=True)]
        for side, found in runs.items()
    }
    return {
        "tokens_per_second": rates,
        "ratio": rates["ours"] / rates["theirs"],
        "score": {side: statistics.mean(values) for side, values in items.items()},
        "difference": paired_bootstrap(items["theirs"], items["ours"]).as_json(),
        "runs": {
            side: [{key: value for key, value in run.items() if key != "items"} for run in found]
            for side, found in runs.items()
        },
    }


def worker(python: str, side: str, kind: str, folder: Path, steps: int, seed: int, precision: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        command = [python, __file__, "--worker", side, kind, str(folder), "--steps", str(steps), "--out", scratch]
        command += ["--seed", str(seed), "--precision", precision]
        limits = {
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        done = subprocess.run(command, env=os.environ | limits, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{side} {kind} failed:\n{done.stderr[-3000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        items = score(kind, folder, precision, Path(scratch))
        return found | {"items": items, "score": statistics.mean(items), "rate": found["tokens"] / found["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--env", type=Path, default=Path.home() / ".cache" / "ayllu" / "bench-post")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("bf16", "float32"))
    parser.add_argument("--keep", action="store_true", help="write bench/records/training/post.json")
    given = parser.parse_args()
    if given.worker:
        side, kind, folder = given.worker
        run = {"ours": ours, "theirs": theirs}[side]
        print(json.dumps(run(kind, Path(folder), given.steps, given.seed, given.precision, given.out)))
        return
    peers, precision = python_with("trl", given.env), given.precision or fastest()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, given.steps)
        (folder / "bench_rewards.py").write_text(REWARDS)
        for kind in given.kinds:
            runs: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
            for seed in range(given.rounds):
                for side, python in (("ours", sys.executable), ("theirs", str(peers))):
                    run = worker(python, side, kind, folder, given.steps, seed, precision)
                    runs[side].append(run)
                    said = {key: round(value, 3) for key, value in run.items() if key != "items"}
                    print(kind, side, said, file=sys.stderr)
            found[kind] = compare(runs)
    if given.keep:
        rounds = {kind: each.pop("runs") for kind, each in found.items()}
        from keep import keep

        versions = dict(package.split("==") for package in PACKAGES["trl"])
        keep("training/post", {"precision": precision, "kinds": found}, rounds=rounds, peers=versions)
    print(json.dumps(found) if given.json else shown(found))


def fastest() -> str:
    from ayllu.train.machine import fastest_precision

    return fastest_precision()


def table(figures: Mapping[str, Any]) -> str:
    """The comparison as a Markdown table."""
    lines = [
        f"| {figures['precision']} | Ayllu, tokens/s | TRL | ratio | held out, Ayllu and TRL | difference |",
        "|---|---|---|---|---|---|",
    ]
    for kind, found in figures["kinds"].items():
        rate, points, better = found["tokens_per_second"], found["score"], found["difference"]
        lines.append(
            f"| {kind} | {rate['ours']:,.0f} | {rate['theirs']:,.0f} | **{found['ratio']:.2f}** | "
            f"{points['ours']:.3f}, {points['theirs']:.3f} | "
            f"{better['value']:+.3f} ({better['low']:.3f} to {better['high']:.3f}) |"
        )
    return "\n".join(lines)


def shown(found: Mapping[str, Any]) -> str:
    """The same for a terminal."""
    lines = []
    for kind, each in found.items():
        rate, points, better = each["tokens_per_second"], each["score"], each["difference"]
        lines.append(
            f"{kind}: {rate['ours']:,.0f} tokens/s, TRL {rate['theirs']:,.0f}: {each['ratio']:.2f} times; "
            f"held out {points['ours']:.3f}, TRL {points['theirs']:.3f}: "
            f"{better['value']:+.3f} ({better['low']:.3f} to {better['high']:.3f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
