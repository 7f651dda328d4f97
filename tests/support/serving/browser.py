"""A visitor of the chat page, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Visit:
    """A fresh visitor's tab, and what it did behind the scenes."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.address = address
        self.requests: list[Any] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector("#facts >> text=parameters")

    def send(self, text: str) -> None:
        self.page.fill("#prompt", text)
        self.page.press("#prompt", "Enter")

    def finished(self) -> None:
        self.page.wait_for_selector(".message.assistant:last-child .rate, .message:last-child .note")
        self.page.wait_for_selector("#stop", state="hidden")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait here: the page's policy forbids the evaluation that Playwright's own waiting needs."""
        for _ in range(3000):
            if condition():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("it never happened")

    def texts(self) -> list[str]:
        return self.page.locator(".said, .message .text").all_inner_texts()

    def asked(self) -> dict[str, Any]:
        return [r.post_data_json for r in self.requests if r.url.endswith("/v1/chat/completions")][-1]

    def short(self) -> None:
        """Set the longest answer to 32 tokens, through the settings as a visitor would."""
        self.page.click("#open-settings")
        self.page.select_option("#length", "32")
        self.page.press("#settings", "Escape")
