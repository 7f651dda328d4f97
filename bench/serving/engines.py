"""Every engine that is installed behind its own HTTP server, in turns, with what its rounding costs: what
`ayllu bench serve --json` prints, kept as a record.

    python bench/serving/engines.py [MODEL] [--rounds 3] [--keep]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.api.home import find_home
from ayllu.lab.channel import find_model
from ayllu.serve.measure import USERS, bench

BITS = (8, 4)
RATIOS = {
    "decode_1": "decode, one user, greedy",
    "drawn_1": "decode, one user, drawn at temperature 1",
    "prefill_1": "prompt of 1,000 ids, cold",
    "total_4": "four users together",
    "total_16": "sixteen users together",
    "ttft_16": "first token, sixteen users (less is better)",
    "memory": "memory (less is better)",
}


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown: engines, and ours as a multiple of llama.cpp's at the same bits."""
    engines: dict[tuple[str, int | None, int | None], dict[int, Mapping[str, Any]]] = {}
    for row in figures["engines"]:
        engines.setdefault((row["name"], row["bits"], row.get("threads")), {})[row["users"]] = row
    lines = [
        f"{figures['model']}, {figures['cores']} cores, through each one's own HTTP server, tokens/s; "
        "start is to the first token:",
        "",
        "| engine | bits | one user | drawn | prompt | 4 users | 16 users | first token at 16, ms | MiB | start, s "
        "| bits/byte lost |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, bits, threads), by_users in engines.items():
        called = name if threads is None else f"{name}, {threads} thread{'s' if threads > 1 else ''}"
        one, four, most = (by_users[count] for count in USERS)
        lines.append(
            f"| {called} | {bits or 32} | {one['decode_tokens_per_second']:,.0f} | "
            f"{one['drawn_tokens_per_second']:,.0f} | "
            f"{one['prefill_tokens_per_second']:,.0f} | {four['decode_tokens_per_second']:,.0f} | "
            f"{most['decode_tokens_per_second']:,.0f} | {most['time_to_first_token_ms']:,.0f} | "
            f"{one['memory_mib']:,.0f} | {one['start_s']:.2f} | {one['bits_per_byte_lost']:.4f} |"
        )
    by_bits = figures["ratio_to_llama_cpp"]["by_bits"]
    threads_by_bits = figures["ratio_to_llama_cpp"].get("threads_by_bits", {})
    best = " best, its threads in brackets" if threads_by_bits else ""
    lines += ["", f"| ours as a multiple of llama.cpp's{best} | {' | '.join(f'{bits} bits' for bits in by_bits)} |"]
    lines.append(f"|---|{'---|' * len(by_bits)}")
    for key, words in RATIOS.items():
        told = []
        for bits, ratios in by_bits.items():
            chosen = threads_by_bits.get(bits, {}).get(key)
            told.append(f"{ratios[key]:.2f}" + (f" ({chosen})" if chosen else ""))
        lines.append(f"| {words} | {' | '.join(told)} |")
    return "\n".join(lines)


def main() -> None:
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    given.add_argument("model", nargs="?", default="smollm2")
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--home", type=Path)
    given.add_argument("--keep", action="store_true", help="write bench/records/engines.json")
    asked = given.parse_args()
    found = bench(find_model(asked.model, find_home(asked.home)), rounds=asked.rounds, bits=BITS, users=USERS)
    rounds = found.pop("rounds")
    figures = {"model": asked.model, **found}
    print(json.dumps(figures, indent=1))
    if asked.keep:
        keep("engines", figures, rounds=rounds, peers={"xllamacpp": version("xllamacpp")})


if __name__ == "__main__":
    main()
