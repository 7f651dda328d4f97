"""Draw docs/pictures/lab_runs.png and lab_compare.png: the page `ayllu lab` over the small lab of the tests.

    PYTHONPATH=src python docs/pictures/lab.py

Needs the packages playwright and pillow, and Chromium (Debian: chromium).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

from screenshot import MOST_BYTES, small  # noqa: E402

from support.lab import going_on, showing, small_lab  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        lab = small_lab(Path(home))
        both = f"{lab.good[:12]},{lab.bad[:12]}"
        # The sandbox of Chromium does not work for root, and the only page that is opened is ours.
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        pictures = {
            "lab_runs": ("/?cols=lr,seed", "tr.running .spark", 1100, 620, "light"),
            "lab_compare": (f"/compare?of={both}&smooth=0.8", "text=Cost", 390, 820, "dark"),
        }
        with going_on(lab.store, steps=80), showing(lab.store) as address:
            for name, (path, there, width, height, theme) in pictures.items():
                page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                page.goto(f"{address}{path}")
                page.wait_for_selector(there)
                png = small(page.screenshot())
                assert len(png) <= MOST_BYTES
                (HERE / f"{name}.png").write_bytes(png)
        chromium.close()


if __name__ == "__main__":
    main()
