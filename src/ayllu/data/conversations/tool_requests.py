"""Requests that a tool answers, with the right call: made from `tools.txt`, to train on and to measure with.

Training requests rename tools and arguments, so that names must be read from the definitions. The held-out ones come
from other tools, whose names and arguments no training request shows, with values that none of them holds.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ayllu.lab.error import UserError
from ayllu.text.tool_calls import Tool, ToolCall

Side = Literal["train", "held out"]
RENAMED = 0.6
"""Share of training requests in which the tool and its arguments are called something else."""
TWICE = 0.08
"""Share of requests that ask for two things at once."""
INVENTED = 0.5
"""Share of training values that are put together from other values' words: what stands on a short list is learnt by
heart, and then "the library fund" becomes "library"; what was never seen can only be copied."""

POOLS: dict[str, str] = {
    "city": "Paris|Rome|Berlin|Madrid|Lima|Cusco|Oslo|Tokyo|Cairo|Boston|Lisbon|Vienna|Prague|Dublin|Athens|Chicago"
    "|Toronto|Seoul|Mumbai|Nairobi|Geneva|Hamburg|Porto|Denver|Quito|Bogota|Seville|Zurich|Krakow|Bergen",
    "country": "Peru|France|Japan|Kenya|Brazil|Norway|Canada|India|Spain|Egypt|Chile|Poland|Ghana|Vietnam|Mexico"
    "|Iceland",
    "person": "Anna|Ben|Carlos|Maria|Tom|Fatima|Leo|Nina|Omar|Julia|Peter|Wei|Rosa|Sam|Priya|Victor|my mother|my boss"
    "|Dr. Brown|Aunt Lucy|Mr. Garcia|Grandpa",
    "email": "anna@example.com|ben.hill@mail.org|info@shop.net|maria_k@work.io|team@lab.edu|j.doe@post.com"
    "|sales@acme.com|omar@uni.edu|office@school.org|hello@studio.art|kim@bank.com|press@museum.org",
    "topic": "the budget|our trip to Spain|the new contract|lunch on Friday|project Alpha|your invoice|the school play"
    "|holiday plans|a broken printer|next week's meeting|the garden party|my application",
    "meeting": "a dentist appointment|lunch with Anna|the team meeting|yoga|a job interview|dinner with Tom|the concert"
    "|a parents' evening|football practice|a haircut|the board meeting|a video call",
    "artist": "Mozart|The Beatles|Miles Davis|Adele|Bob Marley|Nina Simone|Queen|Shakira|Bach|Daft Punk|Elvis Presley"
    "|Edith Piaf|Chopin|Johnny Cash",
    "currency": "USD|EUR|GBP|JPY|CHF|CAD|PEN|SEK",
    "currency2": "AUD|INR|BRL|MXN|NOK|PLN|KRW|ZAR",
    "city2": "London|Sydney|Milan|Munich|Delhi|Warsaw|Havana|Montreal|Santiago|Naples|Glasgow|Osaka|Accra|Leipzig",
    "phrase": "good morning|I will be late|where is the station?|thank you very much|happy birthday|see you tomorrow"
    "|the milk is in the fridge|call me back|dinner is ready|the code is 4711|I love this song|the train leaves at nine"
    "|have a safe trip|water is life|please close the door|the keys are under the mat",
    "language": "French|Spanish|German|Italian|Japanese|Quechua|Polish|Arabic|Swahili|Dutch|Greek|Korean",
    "subject": "black holes|cheap flights to Rome|how to bake bread|the history of Peru|electric cars|llama wool"
    "|free piano lessons|solar panels|the best hiking boots|old maps of London|jobs in Berlin|how volcanoes work",
    "food": "apples|eggs|onions|bananas|tomatoes|mushrooms|olives|peppers|lemons|carrots|avocados|potatoes",
    "room": "kitchen|living room|bedroom|bathroom|garage|hall|office|cellar|attic|dining room|balcony|nursery",
    "cuisine": "Italian|Peruvian|Thai|Indian|Mexican|Japanese|Greek|Turkish|Ethiopian|vegan|Lebanese|Korean",
    "ticker": "AAPL|META|MSFT|NVDA|TSLA|AMZN|IBM|SAP|SONY|BABA|INTC|ORCL",
    "noun": "gratitude|ephemeral|courage|lantern|harvest|solitude|nimble|glacier|whisper|diligent|meadow|riddle",
    "file": "notes.txt|report.pdf|data/sales.csv|config.yaml|letter.docx|src/main.py|README.md|budget.xlsx|cv.pdf"
    "|photos/list.txt|poem.txt|thesis.tex",
    "size": "small|medium|large",
    "sport": "running|yoga|swimming|cycling|rowing|boxing|tennis|climbing|dancing|hiking",
    "film": "Casablanca|The Matrix|Titanic|Alien|Inception|Amelie|Rocky|Jaws|Psycho|Vertigo",
    "hotel": "Hotel Sol|the Grand Palace|Casa Andina|the Harbour Inn|Hotel Europa|the Blue Lagoon|Villa Rosa|the Ritz",
    "dish": "pancakes|lentil soup|paella|chicken curry|apple pie|ceviche|risotto|fried rice|goulash|banana bread",
    "garden": "roses|vegetable patch|lawn|herb bed|tomato house|front garden",
    "problem": "the screen is black|my password expired|the printer jams|the wifi is down|my laptop is slow"
    "|the door badge fails",
    "severity": "low|high|urgent",
    "station": "Central Park|Harbour Square|North Gate|the old mill|Museum Street|Lake Side",
    "pet": "cat|dog|rabbit|parrot|hamster|goat",
    "charity": "the Red Cross|Doctors Without Borders|the animal shelter|the food bank|the library fund",
    "domain": "example.com|badnews.net|timewaster.org|games.io|spam.biz|gossip.tv",
    "street": "12 Main Street|5 Park Lane|the airport|88 Oak Avenue|the opera house|3 Mill Road",
}  # fmt: skip
NUMBERS: dict[str, tuple[int, int]] = {
    "small": (2, 12), "small2": (1, 6), "minutes": (2, 90), "degrees": (16, 25), "percent": (5, 100), "stars": (1, 5),
    "litres": (3, 60), "grams": (20, 400), "systolic": (100, 180), "diastolic": (55, 99),
}  # fmt: skip
LISTS = ("size", "severity", "currency", "currency2", "language", "sport", "pet")
"""Pools whose values are a list that the definition may name, so that others would be wrong."""
VERBS = ("get", "find", "do", "make", "run", "fetch", "request", "start", "handle", "query", "perform", "use", "submit")
ARGUMENTS = (
    "value", "input", "arg", "entry", "key", "detail", "param", "field", "data", "info", "option", "x", "which", "what",
    "given", "main", "extra", "label", "spec", "choice",
)  # fmt: skip
"""What training requests rename arguments to; a number or a word of the old name may follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRequest:
    """What the user says, with the tools on offer and the calls that are right."""

    text: str
    tools: tuple[Tool, ...]
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Argument:
    name: str
    type: str
    pool: str
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spec:
    name: str
    description: str
    arguments: tuple[_Argument, ...]
    ways: tuple[str, ...]

    def tool(self, names: dict[str, str]) -> Tool:
        """The definition, with other names where `names` has one."""
        properties = {names.get(a.name, a.name): {"type": a.type, "description": a.description} for a in self.arguments}
        return Tool(
            name=names.get("", self.name),
            description=self.description,
            parameters={"type": "object", "properties": properties, "required": list(properties)},
        )


def make_requests(
    side: Side, count: int, *, seed: int, most_tools: int = 3, several: bool = True
) -> Iterator[ToolRequest]:
    """`count` requests, the same for the same `seed`; up to `most_tools` tools on offer, the right ones among them."""
    chance = random.Random(f"{side}/{seed}")
    for _ in range(count):
        yield from make_request_group(side, 1, chance, most_tools=most_tools, several=several)


def make_request_group(
    side: Side, size: int, chance: random.Random, *, most_tools: int = 3, several: bool = True
) -> list[ToolRequest]:
    """Requests that share the tools on offer."""
    offered = chance.sample(specs()[side], chance.randint(1, most_tools))
    names = [_renamed(spec, chance) if side == "train" and chance.random() < RENAMED else {} for spec in offered]
    tools = tuple(spec.tool(given) for spec, given in zip(offered, names, strict=True))
    made = []
    for _ in range(size):
        wanted = 2 if several and chance.random() < TWICE else 1
        texts, calls = [], []
        for _ in range(wanted):
            at = chance.randrange(len(offered))
            text, arguments = _ask(offered[at], side, chance)
            texts.append(text)
            renamed = {names[at].get(name, name): value for name, value in arguments.items()}
            calls.append(ToolCall(name=tools[at].name, arguments=renamed))
        made.append(ToolRequest(text=_joined(texts, chance), tools=tools, calls=tuple(calls)))
    return made


def same_calls(found: Sequence[Any], wanted: Sequence[ToolCall]) -> bool:
    """Whether the calls are exactly these: names, argument names, values and their types, in order."""

    def plain(call: ToolCall) -> str:
        return json.dumps([call.name, dict(call.arguments)], sort_keys=True)

    return all(isinstance(call, ToolCall) for call in found) and [plain(c) for c in found] == [plain(c) for c in wanted]


def wrong_call(request: ToolRequest, chance: random.Random) -> tuple[ToolCall, ...]:
    """Calls that look right and are not: one thing about them is changed."""
    calls = list(request.calls)
    at = chance.randrange(len(calls))
    call = calls[at]
    arguments = dict(call.arguments)
    ways = ["value", "argument", "missing", "name"] + (["tool"] if len(request.tools) > 1 else [])
    name = chance.choice(list(arguments))
    match chance.choice(ways):
        case "value":
            value = arguments[name]
            words = str(value).split()
            if isinstance(value, bool | int | float):
                arguments[name] = value + chance.choice((-1, 1, 10))
            else:
                arguments[name] = " ".join(words[:-1]) if len(words) > 1 else "the " + words[0]
        case "argument":
            arguments = {(key + "_name" if key == name else key): value for key, value in arguments.items()}
        case "missing":
            del arguments[name]
        case "name":
            calls[at] = ToolCall(name=call.name + chance.choice(("_tool", "s", "_now")), arguments=arguments)
            return tuple(calls)
        case _:
            other = chance.choice([tool for tool in request.tools if tool.name != call.name] or list(request.tools))
            calls[at] = ToolCall(name=other.name, arguments=arguments)
            return tuple(calls) if other.name != call.name else wrong_call(request, chance)
    calls[at] = ToolCall(name=call.name, arguments=arguments)
    return tuple(calls)


@cache
def specs() -> dict[Side, list[_Spec]]:
    """The tools of `tools.txt` by side. Raises UserError where the file does not follow its own rules."""
    text = (files("ayllu.data.conversations") / "tools.txt").read_text(encoding="utf-8")
    found: dict[Side, list[_Spec]] = {"train": [], "held out": []}
    side: Side = "train"
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line and line[0] != "#"]
        if lines and lines[0].startswith("= "):
            side = "held out" if lines[0] == "= held out" else "train"
        elif lines:
            try:
                found[side].append(_read(lines))
            except (ValueError, KeyError, StopIteration) as error:
                raise UserError(
                    f"tools.txt: the block that starts with {lines[0]!r} cannot be read ({error})"
                ) from error
    return found


def _read(lines: Sequence[str]) -> _Spec:
    name, _, description = lines[0].removeprefix("T ").partition(": ")
    arguments = []
    for line in lines[1:-1]:
        head, _, told = line.removeprefix("A ").partition(": ")
        argument, kind, pool = head.split()
        if pool not in POOLS and pool not in NUMBERS and pool not in ("time", "date", "amount", "code"):
            raise KeyError(pool)
        arguments.append(_Argument(name=argument, type=kind, pool=pool, description=told))
    ways = tuple(lines[-1].removeprefix("U ").split(" | "))
    for way in ways:
        unknown = set(re.findall(r"\{(\w+)\}", way)) ^ {argument.name for argument in arguments}
        if unknown:
            raise ValueError(f"{way!r} does not match the arguments: {', '.join(sorted(unknown))}")
    return _Spec(name=name, description=description, arguments=tuple(arguments), ways=ways)


def _ask(spec: _Spec, side: Side, chance: random.Random) -> tuple[str, dict[str, Any]]:
    values = {argument.name: _value(argument, side, chance) for argument in spec.arguments}
    way = chance.choice(spec.ways)
    # Argument names in the order in which the definition lists them.
    return way.format(**values), values


def _value(argument: _Argument, side: Side, chance: random.Random) -> Any:
    if argument.pool in NUMBERS:
        return chance.randint(*NUMBERS[argument.pool])
    match argument.pool:
        case "time":
            return f"{chance.randint(0, 23):02d}:{chance.choice((0, 5, 10, 15, 20, 30, 40, 45, 50)):02d}"
        case "date":
            return f"20{chance.randint(25, 30)}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
        case "amount":
            return chance.choice(
                (chance.randint(2, 990), round(chance.uniform(2, 200), 1) + 0.0, chance.randint(10, 99) * 10)
            )
        case "code":
            return "".join(chance.choice("ABCDEFGHKLMNPRSTUXYZ") for _ in range(2)) + str(chance.randint(100, 9999))
        case pool:
            if side == "train" and pool not in LISTS and chance.random() < INVENTED:
                return _invented(pool, chance)
            return chance.choice(_pool(pool, side))


@cache
def _pool(pool: str, side: Side) -> list[str]:
    """The values of one side: the last quarter of a pool is for measuring."""
    values = POOLS[pool].split("|")
    cut = len(values) - len(values) // 4
    return values[:cut] if side == "train" or cut == len(values) else values[cut:]


@cache
def _words() -> tuple[str, ...]:
    """Lower-case words of the training values that stand in no held-out one."""
    words = {
        side: {w for pool in POOLS for w in re.findall(r"[a-z]{3,}", " ".join(_pool(pool, side)).lower())}
        for side in ("train", "held out")
    }
    return tuple(sorted(words["train"] - words["held out"]))


def _invented(pool: str, chance: random.Random) -> str:
    """A value of the pool's shape that stands in no pool."""

    def word() -> str:
        return chance.choice(_words())

    match pool:
        case "email":
            ending = chance.choice(("com", "org", "net", "io"))
            return f"{word()}{chance.choice(('.', '_', '-', ''))}{word()}@{word()}.{ending}"
        case "domain":
            return f"{word()}{word()}.{chance.choice(('com', 'org', 'net', 'tv', 'io'))}"
        case "file":
            ending = chance.choice(("txt", "pdf", "csv", "md", "py", "docx", "json", "png"))
            return f"{chance.choice(('', word() + '/'))}{word()}{chance.choice(('', '_' + word()))}.{ending}"
        case "street":
            return f"{chance.randint(1, 99)} {word().title()} {chance.choice(('Street', 'Lane', 'Road', 'Square'))}"
        case "ticker":
            return "".join(chance.choice("ABCDEFGHIKLMNOPRSTUVWXZ") for _ in range(chance.randint(2, 5)))
    phrase = " ".join(word() for _ in range(chance.choice((1, 2, 2, 3, 4))))
    if chance.random() < 0.4:
        phrase = phrase.title()
    return chance.choice(("", "", "the ", "my ", "our ", "a ", "some ")) + phrase


def _renamed(spec: _Spec, chance: random.Random) -> dict[str, str]:
    """Other names: for the tool under "", for its arguments under their own. None of a held-out tool."""
    noun = chance.choice(spec.name.split("_"))
    tool = f"{chance.choice(VERBS)}_{noun}"
    if chance.random() < 0.3:
        tool = re.sub(r"_(\w)", lambda found: found[1].upper(), tool)
    names = {"": tool}
    taken = set(_held_out_names())
    for argument in spec.arguments:
        if chance.random() < 0.7:
            name = chance.choice((*ARGUMENTS, f"{argument.name}_{chance.choice(ARGUMENTS)}"))
            if name not in taken:
                names[argument.name] = name
                taken.add(name)
    # Two arguments must not end with one name.
    final = [names.get(argument.name, argument.name) for argument in spec.arguments]
    return names if len(set(final)) == len(final) and tool not in _held_out_names() else {}


@cache
def _held_out_names() -> frozenset[str]:
    held = specs()["held out"]
    return frozenset([spec.name for spec in held] + [a.name for spec in held for a in spec.arguments])


def _joined(texts: Sequence[str], chance: random.Random) -> str:
    if len(texts) == 1:
        return texts[0]
    first = texts[0].rstrip(".?!")
    return f"{first}{chance.choice((', and then: ', '. Also: ', ' and also: '))}{texts[1]}"
