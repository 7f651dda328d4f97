"""`ayllu bench`: how fast things are on this machine, side by side."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from ayllu.api.home import find_home
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.error import UserError

app = App(name="bench", help="Time what is installed here, side by side.")


@app.command
def serve(
    model: str = "smollm2",
    /,
    *,
    rounds: int = 3,
    bits: list[int] | None = None,
    users: list[int] | None = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Time every engine that is installed, each behind its own server, in turns; quality beside speed.

    Parameters
    ----------
    model
        A release folder, or the name of a model, such as smollm2 after `ayllu adopt smollm2`.
    rounds
        How often each engine is timed; medians are shown.
    bits
        Bits of a weight, 4, 8 or 16; can be given several times. Four and eight unless given.
    users
        How many ask at a time; can be given several times. 1, 4 and 16 unless given.
    """
    from ayllu.lab.channel import find_model
    from ayllu.serve.measure import GGUF_TYPES, USERS, bench

    wanted = bits or [8, 4]
    asking = sorted({1, *(users or USERS)})
    if rounds < 1 or min(asking) < 1 or not set(wanted) <= set(GGUF_TYPES):
        raise UserError("rounds and users begin at 1, and bits are 4, 8 or 16; change the option")
    found = bench(find_model(model, find_home(home)), rounds=rounds, bits=wanted, users=asking)
    if json:
        print_json(found)
    else:
        print_lines(_table(found))


def _table(found: dict[str, Any]) -> list[str]:
    lines = ["engine      bits threads users  tokens/s  prompt/s  first ms  MiB    bits/byte lost"]
    for row in found["engines"]:
        lost = row["bits_per_byte_lost"]
        shown = [row["decode_tokens_per_second"], row["prefill_tokens_per_second"], row["time_to_first_token_ms"]]
        figures = "".join("         -" if value is None else f"{value:10.0f}" for value in [*shown, row["memory_mib"]])
        told = "-" if lost is None else f"{lost:.4f}"
        lines.append(
            f"{row['name']:<12}{row['bits'] or '':<5}{row['threads'] or '':<8}{row['users']:<5}{figures}    {told}"
        )
    for bits, ratios in found["ratio_to_llama_cpp"]["by_bits"].items():
        threads = found["ratio_to_llama_cpp"]["threads_by_bits"][bits]
        parts = ", ".join(
            f"{name} {value}" + (f" ({threads[name]})" if threads.get(name) else "") for name, value in ratios.items()
        )
        lines.append(f"native beside llama.cpp's best at {bits} bits (its threads): {parts}")
    return lines
