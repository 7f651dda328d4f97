"""How long the page `ayllu lab` takes to open over ten thousand results: `python bench/lab_page.py [--keep]`.

A store is made for it, whose trainings have 400 lines of losses each; the server is the command, the visitor a fresh
Chromium. Times are by the clock, from the request or the click to what is on the screen; beside them stands what the
server has computed for all visits. Needs the packages playwright, and Chromium (Debian: chromium).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from keep import keep

from support.shelf import many

LOSSES = "".join(json.dumps({"step": n + 1, "loss": 2 + 3 / (n + 1), "seconds": 0.1}) + "\n" for n in range(400))
ROW = "#runs tbody tr"
HEAD = ["| | milliseconds, median | slowest |", "|---|---|---|"]


def table(figures: Mapping[str, Any]) -> str:
    """The times as a Markdown table."""
    rows = [
        f"| {name} | {times['median_ms']:.0f} | {times['slowest_ms']:.0f} |" for name, times in figures["times"].items()
    ]
    return "\n".join([f"{figures['results']:,} results, {figures['runs']} visits:", "", *HEAD, *rows])


def visit(browser: Any, address: str) -> dict[str, float]:
    """Milliseconds of what one visitor does."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    found = {}

    def timed(name: str, act: Callable[[], Any], until: str) -> None:
        began = time.perf_counter()
        act()
        page.wait_for_selector(until)
        found[name] = (time.perf_counter() - began) * 1000

    timed("opens, with 100 rows", lambda: page.goto(address, wait_until="commit"), f"{ROW}:nth-child(100)")
    page.wait_for_selector(".spark >> nth=49")
    timed("next 100 rows", lambda: page.click("text=Next"), ".count:has-text('101–')")
    timed(
        "orders all by score", lambda: page.click("thead button:has-text('Score')"), "th[aria-sort]:has-text('Score')"
    )
    timed(
        "search in all, from the last letter",
        lambda: page.fill("#search", "seed<10 pretrain"),
        ".count:has-text('of 10')",
    )
    timed("storage", lambda: page.click("text=Storage"), ".stack")
    page.close()
    return found


def processor_seconds(process: int) -> float:
    """What a process has computed until now (Linux)."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7, help="visits, after one that is not counted")
    parser.add_argument("--keep", action="store_true", help="write bench/records/lab/page.json")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder) / "home"
        for path in sorted((many(home, given.results).artifacts).glob("pretrain-*")):
            (home / "logs" / path.name).mkdir(parents=True)
            (home / "logs" / path.name / "metrics.jsonl").write_text(LOSSES)
        began = time.perf_counter()
        words = [sys.executable, "-m", "ayllu.cli", "lab", "--port", "0", "--home", str(home)]
        server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        try:
            lines = iter(server.stderr or ())
            address = next(word for line in lines for word in line.split() if word.startswith("http://"))
            started = time.perf_counter() - began
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            before = processor_seconds(server.pid)
            rounds = [visit(browser, address) for _ in range(given.runs + 1)][1:]
            computed = (processor_seconds(server.pid) - before) / (given.runs + 1)
            browser.close()
        finally:
            server.terminate()
            server.wait()
    times = {
        name: {
            "median_ms": round(statistics.median(one[name] for one in rounds), 1),
            "slowest_ms": round(max(one[name] for one in rounds), 1),
        }
        for name in rounds[0]
    }
    figures = {
        "results": given.results,
        "runs": given.runs,
        "server_first_start_s": round(started, 1),
        "server_processor_seconds_a_visit": round(computed, 3),
        "times": times,
    }
    print(json.dumps(figures, indent=1))
    if given.keep:
        keep("lab/page", figures, rounds=rounds)


if __name__ == "__main__":
    main()
