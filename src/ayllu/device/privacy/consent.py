"""By whose leave the glasses listen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Mode = Literal["light", "ask", "push"]
"""light: the capture light is the notice; ask: nothing is taken before somebody has said yes aloud; push: the wearer
holds a button for every word."""

QUESTION = "May I listen? Please say yes or no."
YES = re.compile(r"\b(yes|yeah|yep|sure|okay|ok|of course|you may|go ahead)\b", re.IGNORECASE)
NO = re.compile(r"\b(no|not|don't|do not|stop|nope|never)\b", re.IGNORECASE)


@dataclass
class Consent:
    """Of one session."""

    mode: Mode = "light"
    given: bool = False

    @property
    def open(self) -> bool:
        """Whether what is said may be taken."""
        return self.mode != "ask" or self.given

    def answer(self, text: str) -> bool:
        """Take an answer to the question: only a yes without a no gives leave."""
        self.given = bool(YES.search(text)) and not NO.search(text)
        return self.given
