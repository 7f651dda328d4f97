"""JSON of a body as RFC 8259 has it: in UTF-8, numbers that are numbers, and texts of whole characters.

Python's reader also takes NaN, numbers beyond a float, and half of a surrogate pair, none of which any answer of ours
could repeat: a conversation that held one could never be read again.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any


def strict_json(body: bytes | str) -> Any:
    """The value that `body` is; json.JSONDecodeError where it is none that JSON can say."""
    try:
        text = body if isinstance(body, str) else body.decode()
        value = json.loads(text, parse_constant=_constant, parse_float=_number)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("it is not UTF-8", "", error.start) from None
    except UnicodeEncodeError:
        raise json.JSONDecodeError("it has text that is not Unicode: half a surrogate pair", "", 0) from None
    except RecursionError:
        raise json.JSONDecodeError("it has too many levels", "", 0) from None
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python reads no whole number of more digits, for that takes their square of time
        digits = sys.get_int_max_str_digits()
        raise json.JSONDecodeError(f"it has a number of more than {digits:,} digits", "", 0) from None
    return value


def _constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is no number", "", 0)


def _number(text: str) -> float:
    if math.isinf(number := float(text)):
        raise json.JSONDecodeError(f"{text[:20]} is too large for a number", "", 0)
    return number
