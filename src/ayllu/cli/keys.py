"""The `ayllu keys` commands."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import cyclopts

from ayllu.api.home import find_home
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.serve.access.keys import Key

app = cyclopts.App(name="keys", help="Say who may use `ayllu serve`: API keys, their scopes, rates and quotas.")

UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
LIMITS = ("requests_per_minute", "tokens_per_minute", "tokens_per_day")


@app.command
def add(
    name: str,
    /,
    *,
    scope: list[str] | None = None,
    expires: str | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    tokens_per_day: int | None = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown once: only its digest is kept.

    Parameters
    ----------
    name
        Whose it is, or what for.
    scope
        What it is for: models, generate, embeddings, files, audio, metrics; can be given several times. All but
        metrics unless given.
    expires
        When it ends: a date (2027-01-31, or with a time) in UTC, or a time from now such as 12h, 30d or 8w.
    requests_per_minute
        Most requests in a minute.
    tokens_per_minute
        Most tokens read and written in a minute; what an answer takes beyond that, the next request waits for.
    tokens_per_day
        Most tokens read and written on a day (UTC).
    """
    from ayllu.serve.access.keys import KeyStore

    text, key = KeyStore(find_home(home)).add(
        name,
        scopes=scope or (),
        expires=None if expires is None else _end(expires, time.time()),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        tokens_per_day=tokens_per_day,
    )
    if json:
        print_json({"key": text, **key.told(time.time())}, indent=2)
    else:
        print_lines([text])
        from ayllu.lab.progress import say

        say(f"the key of {key.name!r} is shown this once; clients send it as the header Authorization: Bearer KEY")


@app.command(name="list")
def list_keys(*, home: Home = None, json: Json = False) -> None:
    """List all keys, and what they have used today; the keys themselves are kept nowhere."""
    from ayllu.serve.access.keys import KeyStore
    from ayllu.serve.access.usage import UsageFile

    place = find_home(home)
    keys, usage, now = KeyStore(place).all(), UsageFile(place), time.time()
    used = {key.id: usage.days(key.id) for key in keys}
    usage.close()
    if json:
        print_json({"keys": [{**key.told(now), "usage": used[key.id]} for key in keys]}, indent=2)
    else:
        today = datetime.fromtimestamp(now, UTC).date().isoformat()
        print_lines([_line(key, now, used[key.id].get(today, {})) for key in keys] or ["there are no keys"])


@app.command
def revoke(name: str, /, *, home: Home = None, json: Json = False) -> None:
    """Let a key be none any more: a running server refuses it at once, and ends its answers within a second.

    Parameters
    ----------
    name
        The key's name or id.
    """
    from ayllu.serve.access.keys import KeyStore

    key = KeyStore(find_home(home)).revoke(name)
    if json:
        print_json(key.told(time.time()), indent=2)
    else:
        print_lines([f"{key.name} ({key.id}) is revoked"])


def _end(given: str, now: float) -> int:
    """When a key ends, in seconds since 1970; UserError for what is no time, and for one that is past."""
    if found := re.fullmatch(r"(\d{1,5})([hdw])", given):
        end = now + int(found[1]) * UNITS[found[2]]
    else:
        try:
            moment = datetime.fromisoformat(given)
            end = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError) as error:
            raise UserError(
                f"--expires {given[:40]!r} is no time; give a date such as 2027-01-31, or 12h, 30d, 8w"
            ) from error
    if end <= now:
        raise UserError(f"--expires {given} is past; give a time to come")
    return int(end)


def _line(key: Key, now: float, today: dict[str, Any]) -> str:
    limits = [
        f"{getattr(key, name):,} {name.replace('_per_', '/').replace('minute', 'min')}"
        for name in LIMITS
        if getattr(key, name)
    ]
    parts = [f"{key.name} ({key.id})", key.state(now), f"for {', '.join(key.scopes)}"]
    if key.expires is not None:
        parts.append(f"until {datetime.fromtimestamp(key.expires, UTC):%Y-%m-%d %H:%M} UTC")
    parts += limits
    if today:
        parts.append(f"today {today['requests']:,} requests, {today['tokens']:,} tokens")
    return " · ".join(parts)
