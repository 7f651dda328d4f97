"""Verify a release by a reading of its own, with `cryptography` alone: `python standalone.py FOLDER [KEY.pub]`."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY, SIGNATURE, MANIFEST, POLICY = "release-key.pub", "model.sig", "manifest.json", "policy.json"
JSONS = ("records.json", "scores.json", "sources.json", "config.json", "generation_config.json", "tokenizer.json")
NAMES = re.compile(
    r"(((generation|tokenizer)_)?config|tokenizer|special_tokens_map|records|scores|sources|references|policy|manifest)"
    r"\.json|(items|documents)\.jsonl|(README|TECHNICAL_REPORT)\.md|LICENSE(S\.md)?|(model|policy)\.sig|release-key\.pub|\.gitattributes|"
    r"chat_template\.jinja|[\w.-]+\.safetensors(\.index\.json)?|documents/[\w.-]+|figures/[\w. -]+\.(png|jpe?g)"
)
NEEDED = (*JSONS, "tokenizer_config.json", "items.jsonl", "documents.jsonl", "README.md", "LICENSE", "LICENSES.md")
GATES, MORE = {"weights", "scores", "licences", "template", "card"}, {"files", "gguf", "policy"}
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
OURS = "vocabulary layers width heads kv_heads feed_forward head_width context tied"
THEIRS = "vocab_size num_hidden_layers hidden_size num_attention_heads num_key_value_heads intermediate_size head_dim"
SHAPE = tuple(zip(OURS.split(), f"{THEIRS} max_position_embeddings tie_word_embeddings".split(), strict=True))
FORBIDDEN = re.compile(r"\b(NC|ND|non-?commercial|research only|proprietary|unknown|not stated)\b", re.IGNORECASE)
NORMAL, TRIPLE, TABLE = NormalDist(), ("value", "low", "high"), str.maketrans("|<>`", "/‹›'")
CODE = re.compile(r"^```[\w-]*\n.*?^ {0,3}`{3,}[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)(\[[^][\\]*)]\([^\s()]*\)")
MARKUP = re.compile(r"``|~~~|\\`|<(?!https?:)[A-Za-z/!?]|&(?:#|\w+;)")
BARE = re.compile(r"(?<!\w)(?<!\w[.\-])[-+]?(?:\.?\d[\d.,]*|[²³¹¼-¾⁰-₉⅐-↉①-⓿❶-➓])")
GAPS = "Left to `ayllu release verify`: GGUF, template, token names, index, LICENSE, documents, exceptions, revocations"


def verify(folder: Path, key: Path | None = None) -> list[str]:
    """What is wrong with the release in `folder`; `key` is the publisher's public key."""
    problems: list[str] = []
    try:
        for check in (_signed, _manifest, _weights, _scores, _policy, _pages):
            problems += check(folder, key)
            if check in (_signed, _manifest) and problems:
                break  # what a file says is judged only when it is the file that was signed
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        problems.append(f"{check.__name__[1:]} cannot be checked: {type(error).__name__}: {error}")
    return problems


def _read(folder: Path, name: str, most: int = 64 << 20) -> bytes:
    if (path := folder / name).is_symlink() or not path.is_file() or path.stat().st_size > most:
        raise ValueError(f"{name} is no regular file of a size that can be read")
    return path.read_bytes()


def _json(text: str | bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice in one object of JSON, so that programs read different values")
        return found

    return json.loads(text, object_pairs_hook=once, parse_constant=int)  # which NaN is not


def _paths(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(bundle: bytes, pem: bytes) -> dict[str, str]:
    """Path to sha256 of what a bundle signs (DSSE 1.0.0 around an in-toto statement). Raises InvalidSignature."""
    key: Any = serialization.load_pem_public_key(pem)
    envelope = _json(bundle)["dsseEnvelope"]
    payload, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"]
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))
    return {entry["name"]: entry["digest"] for entry in _json(payload)["predicate"]["resources"]}


def _signed(folder: Path, key: Path | None) -> Iterator[str]:
    own = _read(folder, KEY, 1 << 16)
    if key and serialization.load_pem_public_key(key.read_bytes()) != serialization.load_pem_public_key(own):
        yield f"{KEY} is not the trusted key"
    try:
        signed = _digests(_read(folder, SIGNATURE), key.read_bytes() if key else own)
    except InvalidSignature:
        yield f"{SIGNATURE} was not made with the key, or what it signs was changed"
        return
    there = set(_paths(folder)) - {SIGNATURE}
    for path in sorted(signed.keys() | there):
        if path not in there or path not in signed:
            yield f"{path} is missing" if path in signed else f"{path} was added after the release was signed"
        elif (folder / path).is_symlink() or not (folder / path).is_file() or _sha256(folder / path) != signed[path]:
            yield f"{path} was changed after the release was signed"


def _manifest(folder: Path, key: Path | None) -> Iterator[str]:
    manifest, records, scores = (_json(_read(folder, name)) for name in (MANIFEST, "records.json", "scores.json"))
    gguf = f"{records['release']['name']}.gguf"
    for path in _paths(folder):
        entry = manifest["files"].get(path)
        if path not in (MANIFEST, SIGNATURE) and (not entry or entry["sha256"] != _sha256(folder / path)):
            yield f"{MANIFEST} does not describe {path} as it is"
        if path != gguf and not (path.isascii() and NAMES.fullmatch(path)):
            yield f"{path} is none of the files that a release holds"
    yield from (f"{name} is missing" for name in (*NEEDED, gguf) if not (folder / name).is_file())
    counted = [(source["value"], source["bytes"]) for source in scores["bits_per_byte"].values()]
    pooled = sum(value * size for value, size in counted) / sum(size for _, size in counted) if counted else None
    stated = {**records["release"], "model_digest": records["model"]["digest"], "bits_per_byte": pooled}
    yield from (f"{MANIFEST} says another {field}" for field, v in stated.items() if manifest.get(field) != v)
    if not GATES <= set(manifest["gates"]) <= GATES | MORE or not re.fullmatch(r"(?a)[^\W_][\w.-]*", manifest["name"]):
        yield f"{MANIFEST} lacks gates that every release passes, names others, or gives no name"
    policy = {name: value for name, value in manifest["policy"].items() if name != "sha256"}
    if hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest() != manifest["policy"]["sha256"]:
        yield f"{MANIFEST} names a policy whose rules do not give its sha256"


def _weights(folder: Path, key: Path | None) -> Iterator[str]:
    records, config = (_json(_read(folder, name)) for name in ("records.json", "config.json"))
    model, lines, count = records["model"], [], 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length, size, reached = int.from_bytes(file.read(8), "little"), path.stat().st_size, 0
            header = _json(file.read(min(length, size, 100_000_000)))
            tensors = {name: header[name] for name in header.keys() - {"__metadata__"}}
            for name, tensor in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
                (begin, end), numbers = tensor["data_offsets"], math.prod(tensor["shape"])
                if begin != reached or end - begin != numbers * BYTES[tensor["dtype"]]:
                    yield f"{path.name}: {name} does not lie where its type and shape put it"
                state, reached, count = hashlib.sha256(file.read(min(end - begin, size))), end, count + numbers
                lines.append((name, f"{name} {tensor['dtype']} {tensor['shape']} {state.hexdigest()}\n"))
            if 8 + length + reached != size or not tensors:
                yield f"{path.name} holds more than its tensors, or none"
    digest = hashlib.sha256("".join(line for _, line in sorted(lines)).encode()).hexdigest()
    if (digest, count) != (model["digest"], model["parameters"]):
        yield "records.json says another digest or number of parameters than the weights have"
    yield from (f"config.json says another {theirs}" for ours, theirs in SHAPE if config[theirs] != model[ours])
    rows = 2 * model["head_width"] * (model["heads"] + model["kv_heads"]) + 3 * model["feed_forward"] + 2
    if count != model["width"] * (model["layers"] * rows + 1 + model["vocabulary"] * (2 - model["tied"])):
        yield "records.json describes another shape than that of the weights"
    if "auto_map" in config or "auto_map" in _json(_read(folder, "tokenizer_config.json")):
        yield "config.json or tokenizer_config.json names code to be run"


def _interval(right: int, answered: int, items: int) -> tuple[float, float, float]:
    """A proportion with its bounds: Wilson's (1927), or with missing answers those of Imbens and Manski (2004)."""
    if not answered:
        return 0.0, 0.0, 1.0
    missing, two = (items - answered) / items, NORMAL.inv_cdf(0.975)
    shifted = (right + two**2 / 2) / (answered + two**2)
    error = (1 - missing) * math.sqrt(shifted * (1 - shifted) / (answered + two**2))
    low, z = NORMAL.inv_cdf(0.95), two
    while low < (middle := (low + z) / 2) < z:
        below = NORMAL.cdf(middle + missing / error) - NORMAL.cdf(-middle) < 0.95
        low, z = (middle, z) if below else (low, middle)
    share, n = right / answered, answered
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    lower = max(0.0, centre - half) / (1 + z * z / n) * (right > 0)
    upper = 1.0 if right == answered else min(1.0, (centre + half) / (1 + z * z / n))
    return right / items, (1 - missing) * lower, (1 - missing) * upper + missing


def _ratio(x: list[float], y: list[float]) -> tuple[float, float | None, float | None]:
    """A ratio of sums with the delta method's interval and Student's t (Abramowitz and Stegun 26.7.3 to 26.7.5)."""
    ratio, n = math.fsum(x) / math.fsum(y), len(x)
    if n < 2:
        return ratio, None, None
    error = math.sqrt(n / (n - 1) * math.fsum((a - ratio * b) ** 2 for a, b in zip(x, y, strict=True))) / math.fsum(y)
    low, high, free = 0.0, math.pi / 2, n - 1
    while low < (angle := (low + high) / 2) < high:
        sine, cosine, odd = math.sin(angle), math.cos(angle), free % 2
        total = term = cosine if odd else 1.0
        for k in range(3 if odd else 2, free - 1, 2):
            total += (term := term * cosine * cosine * (k - 1) / k)
        inside = 2 / math.pi * (angle + sine * total * (free > 1)) if odd else sine * total
        low, high = (angle, high) if inside < 0.95 else (low, angle)
    half = math.tan(high) * math.sqrt(free) * error
    return ratio, ratio - half, ratio + half


def _equal(stated: dict[str, Any], found: tuple[float | None, ...]) -> bool:
    pairs = zip((stated.get(name) for name in TRIPLE), found, strict=True)
    return all(a == b or (a and b and math.isclose(a, b, rel_tol=1e-7)) for a, b in pairs)


def _lines(folder: Path, name: str, group: str) -> dict[str, list[Any]]:
    found: dict[str, dict[Any, Any]] = {}
    for i, entry in enumerate(map(_json, (folder / name).read_text(encoding="utf-8").splitlines())):
        found.setdefault(entry[group], {})[entry.get("id", i)] = entry  # each question counts once
    return {key: [*entries.values()] for key, entries in found.items()}


def _scores(folder: Path, key: Path | None) -> Iterator[str]:
    stated, sets = _json(_read(folder, "scores.json")), _lines(folder, "items.jsonl", "set")
    if sets.keys() != stated["sets"].keys():
        yield "scores.json has other sets than items.jsonl"
    for name, items in sets.items():
        there = [item for item in items if None not in item["log_likelihoods"]]
        for kind, verdict in (("accuracy", "correct"), ("accuracy_norm", "correct_norm")):
            right = 0
            for item in there:
                sizes = item["bytes"] if kind == "accuracy_norm" else [1] * len(item["bytes"])
                per = [value / max(1, size) for value, size in zip(item["log_likelihoods"], sizes, strict=True)]
                right += (correct := per.index(max(per)) == item["gold"])
                if item[verdict] is not correct:
                    yield f"items.jsonl contradicts the raw outcomes of {item['id']}"
            if not _equal(stated["sets"][name][kind], _interval(right, len(there), len(items))):
                yield f"scores.json contradicts the raw outcomes: {kind} of {name}"
        gold = [-i["log_likelihoods"][i["gold"]] / math.log(2) / max(1, i["bytes"][i["gold"]]) for i in there]
        if gold and not _equal(stated["sets"][name]["gold_bits_per_byte"], _ratio(gold, [1.0] * len(gold))):
            yield f"scores.json contradicts the raw outcomes: bits per byte of the answers of {name}"
    sources = _lines(folder, "documents.jsonl", "source")
    for name in sources.keys() | stated["bits_per_byte"].keys():
        rows = sources.get(name, [{"bits": 0, "bytes": 1}])
        found = _ratio([row["bits"] for row in rows], [row["bytes"] for row in rows])
        if not _equal(stated["bits_per_byte"].get(name, {}), found):
            yield f"scores.json contradicts the raw outcomes: bits per byte of {name}"


def _policy(folder: Path, key: Path | None) -> Iterator[str]:
    manifest, records, scores = (_json(_read(folder, name)) for name in (MANIFEST, "records.json", "scores.json"))
    kept, rules = scores["about"].get("policy"), manifest["policy"].get("thresholds", [])
    if (folder / POLICY).is_file():
        content, signature = _read(folder, POLICY), _read(folder, "policy.sig")
        said = {"sha256": hashlib.sha256(content).hexdigest(), "signature": hashlib.sha256(signature).hexdigest()}
        if kept != said or _digests(signature, _read(folder, KEY)) != {POLICY: said["sha256"]}:
            yield f"{POLICY} was not signed before the evaluation, or is not what was signed"
        if [{"least": 1, **rule} for rule in _json(content).get("thresholds", [])] != rules:
            yield f"{POLICY} has other rules than the manifest says"
    elif kept or rules:
        yield f"scores.json was measured under a policy that the release does not hold ({POLICY})"
    verdicts = (said := records.get("policy") or {}).get("verdicts", [])
    for entry, rule in zip(verdicts, rules, strict=True):
        if {name: entry.get(name) for name in rule} != rule:
            yield "records.json gives verdicts on other rules than the policy's"
        value: Any = scores
        for step in entry["score"].split("/"):
            value = value.get(step) if isinstance(value, dict) else None
        bounds = [value.get(name) for name in TRIPLE] if isinstance(value, dict) else [None] * 3
        if [entry[n] for n in TRIPLE] != bounds or entry["verdict"] not in ("PASS", "REVIEW") or "exceptions" in said:
            yield f"records.json gives other verdicts on {entry['score']} than the scores do, or one that fails"


def _pages(folder: Path, key: Path | None) -> Iterator[str]:
    records = {name: _json(_read(folder, name)) for name in (*JSONS[:3], "references.json")}
    references = records.pop("references.json")
    for source in (*records["sources.json"]["corpus"], *records["sources.json"]["dialogues"]):
        digests = [re.fullmatch("[0-9a-f]{64}", str(one.get("sha256"))) for one in source.get("archives") or []]
        if FORBIDDEN.search(str(source.get("licence"))) or not all(digests):
            yield f"sources.json names {source.get('name')}, under a licence that forbids, or an archive without digest"
    for page in sorted({"README.md", "LICENSES.md", "TECHNICAL_REPORT.md"} & set(_paths(folder))):
        lines = _read(folder, page).decode().split("\n")
        for reference in sorted(references[page], key=lambda entry: -entry["end"]):
            number, (file, where) = reference["line"] - 1, reference["source"].split("#", 1)
            value: Any = records[file]
            for step in where.split("/")[1:]:
                step = step.replace("%20", " ").replace("%25", "%").replace("~1", "/").replace("~0", "~")
                value = value[int(step)] if isinstance(value, list) else value[step]
            before = lines[number][: reference["end"]]
            if not (shown := _shown(before, value)):
                yield f"{page} line {number + 1}: not what {reference['source']} says"
            lines[number] = before[: len(before) - shown] + lines[number][reference["end"] :]
        told = CODE.sub(lambda code: "\n" * code[0].count("\n"), "\n".join(lines)).split("\n")
        for number, line in enumerate(told):
            bare = re.sub(r"`[^`]*[^`\d.,%\s+-][^`]*`|`\d+`|<https?:[^\s<>]*>|^\s*(#+|-) ", " ", LINK.sub(r"\1 ", line))
            if line.count("`") % 2 or MARKUP.search(line):
                yield f"{page} line {number + 1}: what stands here can be read in two ways"
            for found in BARE.findall(bare):
                yield f"{page} line {number + 1}: the number {found} has no reference"


def _shown(before: str, value: Any) -> int:
    """How many characters at the end of a text show a value; none where they show something else."""
    if isinstance(value, str | bool):
        words = ("yes" if value else "no") if isinstance(value, bool) else value.translate(TABLE)
        forms = (" ".join(words.split()), json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))
        return next((len(form) for form in forms if form and before.endswith(form)), 0)
    m = re.search(r"(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?)( %)?$", before)
    if not m or not isinstance(value, int | float):
        return 0
    scaled, decimals = value * (100 if m[3] else 1), len(m[2] or "")
    exact = str(value) if isinstance(value, int) and not m[3] and not decimals else f"{scaled:.{decimals}f}"
    return len(m[0]) * (exact == m[1].replace(",", "") and (abs(scaled) < 5e-16 or m[1].strip("-0.,") != ""))


if __name__ == "__main__":
    found = verify(*map(Path, sys.argv[1:])) if 1 < len(sys.argv) < 4 else ["give FOLDER, or FOLDER and KEY.pub"]
    lines = [*(line.encode("unicode_escape").decode() for line in found), GAPS, "NOT verified" if found else "verified"]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(1 if found else 0)
