"""Running English from text that a tokenizer took apart and a lower-caser flattened.

What is undone is what HellaSwag's files show: spaces around punctuation and quotation marks, marks cut off at a
sentence's end, lone `i`, names in lower case. Nothing is guessed that the text does not carry.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_INCH_NEXT = re.compile(
    r"\s*(?:$|[^\w\s]|x\b|by\b|of\b|or\b|on\b|to\b|in\b|from\b|and\b|(?:wide|thick|long|tall|deep|high|above|below)\b)"
)
_SENTENCE_BREAK = re.compile(r"[.!?](?= +[A-Z])")
_LOWER_WORD = re.compile(r"\b[a-z][a-z0-9é]*")
_DOMAINS = ("com", "org", "net", "gov", "edu")
_LOOSE_DOMAINS = tuple(f". {name}" for domain in _DOMAINS for name in (domain, domain.title()))
_LOOSE_DOMAIN = re.compile(rf"\b([\w-]+)\. ({'|'.join(_DOMAINS)})\b", re.IGNORECASE)
_ABBREVIATED = re.compile(r"\b((?:tbsp|tsp|oz|approx|ex|e\.g|i\.e|vs)\. )([A-HJ-Z])(?=[a-z]* )")
_INCH = "\u2033"
_TWICE_ENDED = re.compile(r'([.!?]")\.')
_FULL_STOP = re.compile(r"(?<!\.)\.\s*$")
_UNITED_STATES = re.compile(
    r"(?<=\b[Tt]he )us\b(?! \w+ing\b)|\bus(?=-)"
    r"|\bus(?= (?:dollar|citizen|government|visa|customs|gallon|gal|quart|army|navy)s?\b)"
)
_NAMED_BY_CONTEXT: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("may", re.compile(r"\bmay(?= \d{1,4}\b)|(?<=\bin )may\b")),
    ("march", re.compile(r"\bmarch(?= \d{1,4}\b)|(?<=\bin )march\b")),
    ("windows", re.compile(r"\bwindows(?= \d)")),
    ("mac", re.compile(r"\bmac\b(?!-| (?:and|n|&|'n) )")),
    ("vitamin", re.compile(r"(?<=\bvitamin )[a-k]\b(?!\.\w)")),
    ("dr", re.compile(r"\bdr\.(?: [a-z])?")),
    ("mr", re.compile(r"\bmr\.(?: [a-z])?")),
    ("mrs", re.compile(r"\bmrs\.(?: [a-z])?")),
    ("st", re.compile(r"\bst\. [a-z]")),
)
"""Words that are names only where the pattern finds them: the first word says where to look."""

_SUBSTITUTIONS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (needle, re.compile(pattern), replacement)
    for needle, pattern, replacement in (
        # Numbers: `$1 , 000`, `350 ° f`, `37 : 23`, `50 's`.
        (" , ", r"(?<=\d) , (?=\d{3}\b)", ","),
        (" : ", r"(?<=\d) : (?=\d)", ":"),
        ("°", r"(?<=\d) ?° ?f\b", "°F"),
        ("°", r"(?<=\d) ?° ?c\b", "°C"),
        ("°", r"(?<=\d) °", "°"),
        # What was cut: `web browser. . Click`, `this page..`, `wiki....`.
        (" .", r"(?<=[.!?]) \.(?= |$)", ""),
        ("..", r" ?\.{4,}", "..."),
        ("..", r"(?<!\.)\.\.(?!\.)", "."),
        # Menus: `settings] general] about` had arrows.
        ("]", r"(?<=[\w\"]) ?-?(?:\] ?)+(?=[\w\"])", " > "),
        (" 's", r"(?<=\w) 's\b", "'s"),
        (" - ", r"\bt - shirt", "t-shirt"),
        # `a' plus' model`: the opening mark stuck to the word before it; a plural's own mark follows an s.
        ("' ", r"(?<=[^\Ws])' ([\w-][\w -]{0,30}?) ?'(?=[\s.,;:!?)])", r" '\1'"),
        (",'", r",' ([\w-][\w -]{0,30}?) ?'(?=[\s.,;:!?)])", r", '\1'"),
        ("", r" +(?=[,;:!?%)\]]|\.(?!\d))", ""),
        ("( ", r"\( +", "("),
        (" (s)", r"(?<=\w) \(s\)", "(s)"),
        (".", r"(?<=[!?])\.(?= |$)", ""),
        ("", r",(?=[A-Za-z])", ", "),
        # The pronoun; not the `i` of `i.e.`
        ("i", r"\bi(?=[ ,;!?)\"]|'(?:m|d|ll|ve)\b)", "I"),
        ("u.s", r"\bu\.s\.a\b", "U.S.A"),
        ("u.", r"\bu\.[sS]\.", "U.S."),
        ("u.k", r"\bu\.k\.", "U.K."),
    )
)
"""What to look for before trying, what to find, what to put there."""


def detokenize(text: str) -> str:
    """The text in the spelling of running English."""
    text = " ".join(text.split())
    for needle, pattern, replacement in _SUBSTITUTIONS:
        if needle in text:
            text = pattern.sub(replacement, text)
    text = _lower_after_abbreviation(_join_addresses(text))
    if '"' in text:
        text = quotation_marks(text)
    text = truecase(text)
    return text[:1].upper() + text[1:]


def _lower_after_abbreviation(text: str) -> str:
    """`4 tbsp. Of olive oil` is one sentence: the capital came with the full stop."""
    return _ABBREVIATED.sub(lambda match: match[1] + match[2].lower(), text) if ". " in text else text


def quotation_marks(text: str) -> str:
    """Put `"` against the words that it encloses, tell inches apart, and close what a cut left open."""
    # Even places are outside of quotation marks, odd ones inside.
    parts: list[str] = []
    for piece in text.split('"'):
        if len(parts) % 2 and parts[-1].rstrip()[-1:].isnumeric() and _INCH_NEXT.match(piece):
            parts[-1] = f"{parts[-1].rstrip()}{_INCH}{piece}"
        else:
            parts.append(piece)
    out, rest = parts[0], parts[1:]
    while rest:
        quote = rest.pop(0)
        stop = _SENTENCE_BREAK.search(quote)
        if len(rest) % 2 == 0 and (stop or not rest):
            # A mark without a partner: its partner stood after the full stop and was cut off with the next sentence.
            end = stop.end() if stop else len(quote)
            out = _enclose(out, quote[:end]) + quote[end:]
        else:
            out = _enclose(out, quote) + _after(quote, rest.pop(0))
    return _TWICE_ENDED.sub(r"\1", out).replace(_INCH, '"')


def truecase(text: str) -> str:
    """Names and abbreviations with their capitals, as far as `capitals.txt` lists them."""
    present = set(_LOWER_WORD.findall(text))
    for first in sorted(_first_words().keys() & present):  # a set has another order in every process
        for pattern, name in _first_words()[first]:
            text = pattern.sub(name, text)
    if "us" in present:
        text = _UNITED_STATES.sub("US", text)
    for word, place in _NAMED_BY_CONTEXT:
        if word in present:
            text = place.sub(lambda match: match[0].title(), text)
    return text


@cache
def _first_words() -> dict[str, list[tuple[re.Pattern[str], str]]]:
    """The listed names by the first word in lower case, longer names first."""
    table: dict[str, list[tuple[re.Pattern[str], str]]] = {}
    lines = (files("ayllu.data.sources") / "capitals.txt").read_text(encoding="utf-8").splitlines()
    for name in sorted((line for line in lines if line and line[0] != "#"), key=len, reverse=True):
        pattern = re.compile(rf"(?<![\w@./]){re.escape(name.lower())}(?![\w@/]|\.\w)")
        table.setdefault(re.split(r"[ '-]", name.lower())[0], []).append((pattern, name))
    return table


def _join_addresses(text: str) -> str:
    """Close up `fanpop. Com`, and undo the capital that the gap brought."""
    if not any(ending in text for ending in _LOOSE_DOMAINS):
        return text
    return _LOOSE_DOMAIN.sub(lambda match: f"{match[1]}.{match[2].lower()}", text)


def _enclose(out: str, quote: str) -> str:
    """`out` with `quote` in marks after it; a spoken sentence gets its capital."""
    out, quote = out.rstrip(), quote.strip()
    if out.endswith((",", ":")) and quote.endswith((".", "!", "?")) and quote.count(" ") >= 3:
        quote = quote[:1].upper() + quote[1:]
    return f'{out}{"" if not out or out[-1] in "([/-" else " "}"{quote}"'


def _after(quote: str, rest: str) -> str:
    """What follows a closed quotation, with its space, and its capital where the quotation ended the sentence."""
    rest = rest.lstrip()
    if _FULL_STOP.search(quote) and rest[:1].islower() and not rest.startswith(("and ", "or ", "but ")):
        rest = rest[0].upper() + rest[1:]
    return f" {rest}" if rest and (rest[0].isalnum() or rest[0] in "(>") else rest
