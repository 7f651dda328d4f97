"""Draw docs/pictures/chat.png: the chat page of a running server, after one answer.

    ayllu serve cria &
    python docs/pictures/screenshot.py http://127.0.0.1:8080

Needs the packages playwright and pillow, and Chromium (Debian: chromium).
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MOST_BYTES = 150_000


def shoot(url: str, question: str, *, dark: bool, width: int, height: int) -> bytes:
    """The page as PNG, once the answer to `question` is complete."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"no browser is installed; install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        # The sandbox of Chromium does not work for root, and the only page that is opened is ours.
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
        page.goto(url)
        page.wait_for_selector("#facts >> text=parameters")
        page.fill("#prompt", question)
        page.press("#prompt", "Enter")
        page.wait_for_selector(".message.assistant:last-child .note", timeout=300_000)
        page.mouse.move(1, 1)
        png = page.screenshot()
        chromium.close()
    return png


def small(png: bytes) -> bytes:
    """The same picture in 128 colours, which a page without photographs does not miss."""
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--question", default="Tell me a short story about a llama.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("chat.png"))
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1100)
    parser.add_argument("--height", type=int, default=720)
    given = parser.parse_args()
    png = small(shoot(given.url, given.question, dark=given.dark, width=given.width, height=given.height))
    if len(png) > MOST_BYTES:
        sys.exit(
            f"the picture has {len(png):,} bytes, more than {MOST_BYTES:,}; make it smaller with --width, --height"
        )
    given.out.write_bytes(png)
    sys.stderr.write(f"{given.out}: {len(png):,} bytes\n")


if __name__ == "__main__":
    main()
