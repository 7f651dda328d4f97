"""Verify a release with Python 3.11 and the package `cryptography` alone: `python standalone.py FOLDER [KEY.pub]`.

A second reading of the format, which shares no code with the rest of Ayllu: names and kinds of files, signature,
digests, manifest, policy before evaluation, weights, every score from its raw outcomes, every number on the pages. What
it leaves to `ayllu release verify` it says itself. Exit status 0, or 1 with reasons."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import stat
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
GATES = {"weights", "scores", "licences", "template", "card"}
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
SHAPE = (  # in records.json and in config.json
    *(("vocabulary", "vocab_size"), ("layers", "num_hidden_layers"), ("width", "hidden_size")),
    *(("heads", "num_attention_heads"), ("kv_heads", "num_key_value_heads"), ("feed_forward", "intermediate_size")),
    *(("head_width", "head_dim"), ("context", "max_position_embeddings"), ("tied", "tie_word_embeddings")),
)
FORBIDDEN = re.compile(r"\b(NC|ND|non-?commercial|research only|proprietary|unknown|not stated)\b", re.IGNORECASE)
NORMAL, TRIPLE, TABLE = NormalDist(), ("value", "low", "high"), str.maketrans("|<>`", "/‹›'")
CODE = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)
Found = Iterator[str]
GAPS = "Left to `ayllu release verify`: GGUF file, templates, token names, LICENSE, documents, exceptions, revocations."


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
    path = folder / name
    if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > most:
        raise ValueError(f"{name} is no regular file of a size that can be read")
    return path.read_bytes()


def _json(folder: Path, name: str) -> Any:
    return json.loads(_read(folder, name))


def _paths(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(bundle: bytes, pem: bytes) -> dict[str, str]:
    """Path to sha256 of what a bundle signs (DSSE 1.0.0 around an in-toto statement). Raises InvalidSignature."""
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the key is no elliptic-curve key")
    envelope = json.loads(bundle)["dsseEnvelope"]
    payload, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"]
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))
    return {entry["name"]: entry["digest"] for entry in json.loads(payload)["predicate"]["resources"]}


def _signed(folder: Path, key: Path | None) -> Found:
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
        elif not stat.S_ISREG((folder / path).lstat().st_mode) or _sha256(folder / path) != signed[path]:
            yield f"{path} was changed after the release was signed"


def _manifest(folder: Path, key: Path | None) -> Found:
    manifest, records, scores = (_json(folder, name) for name in (MANIFEST, "records.json", "scores.json"))
    gguf = f"{records['release']['name']}.gguf"
    for path in _paths(folder):
        entry = manifest["files"].get(path)
        if path not in (MANIFEST, SIGNATURE) and (not entry or entry["sha256"] != _sha256(folder / path)):
            yield f"{MANIFEST} does not describe {path} as it is"
        if path != gguf and not NAMES.fullmatch(path):
            yield f"{path} is none of the files that a release holds"
    yield from (f"{name} is missing" for name in (*NEEDED, gguf) if not (folder / name).is_file())
    counted = [(source["value"], source["bytes"]) for source in scores["bits_per_byte"].values()]
    pooled = sum(value * size for value, size in counted) / sum(size for _, size in counted) if counted else None
    stated = {**records["release"], "model_digest": records["model"]["digest"], "bits_per_byte": pooled}
    yield from (f"{MANIFEST} says another {field}" for field, v in stated.items() if manifest.get(field) != v)
    if not set(manifest["gates"]) >= GATES or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", manifest["name"], re.ASCII):
        yield f"{MANIFEST} lacks gates that every release passes, or gives no name"
    policy = {name: value for name, value in manifest["policy"].items() if name != "sha256"}
    if hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest() != manifest["policy"]["sha256"]:
        yield f"{MANIFEST} names a policy whose rules do not give its sha256"


def _weights(folder: Path, key: Path | None) -> Found:
    model, config, lines, count = _json(folder, "records.json")["model"], _json(folder, "config.json"), [], 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            length, size, reached = int.from_bytes(file.read(8), "little"), path.stat().st_size, 0
            header = json.loads(file.read(min(length, size, 100_000_000)))
            header.pop("__metadata__", None)
            for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
                (begin, end), numbers = tensor["data_offsets"], math.prod(tensor["shape"])
                if begin != reached or end - begin != numbers * BYTES[tensor["dtype"]]:
                    yield f"{path.name}: {name} does not lie where its type and shape put it"
                content, reached, count = file.read(end - begin), end, count + numbers
                digest = hashlib.sha256(content).hexdigest()
                lines.append((name, f"{name} {tensor['dtype']} {tensor['shape']} {digest}\n"))
            if 8 + length + reached != size:
                yield f"{path.name} holds more than its tensors"
    digest = hashlib.sha256("".join(line for _, line in sorted(lines)).encode()).hexdigest()
    if (digest, count) != (model["digest"], model["parameters"]):
        yield "records.json says another digest or number of parameters than the weights have"
    yield from (f"config.json says another {theirs}" for ours, theirs in SHAPE if config[theirs] != model[ours])
    rows = 2 * model["head_width"] * (model["heads"] + model["kv_heads"]) + 3 * model["feed_forward"] + 2
    if count != model["width"] * (model["layers"] * rows + 1 + model["vocabulary"] * (2 - model["tied"])):
        yield "records.json describes another shape than that of the weights"
    if "auto_map" in config or "auto_map" in _json(folder, "tokenizer_config.json"):
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
    found: dict[str, list[Any]] = {}
    for line in (folder / name).read_text(encoding="utf-8").splitlines():
        found.setdefault((entry := json.loads(line))[group], []).append(entry)
    return found


def _scores(folder: Path, key: Path | None) -> Found:
    stated, sets = _json(folder, "scores.json"), _lines(folder, "items.jsonl", "set")
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


def _policy(folder: Path, key: Path | None) -> Found:
    manifest, records, scores = (_json(folder, name) for name in (MANIFEST, "records.json", "scores.json"))
    kept, rules = scores["about"].get("policy"), manifest["policy"].get("thresholds", [])
    if (folder / POLICY).is_file():
        content, signature = _read(folder, POLICY), _read(folder, "policy.sig")
        if kept != {"sha256": hashlib.sha256(content).hexdigest(), "signature": hashlib.sha256(signature).hexdigest()}:
            yield f"{POLICY} was not signed before the evaluation"
        if _digests(signature, _read(folder, KEY)) != {POLICY: hashlib.sha256(content).hexdigest()}:
            yield f"{POLICY} is not the policy that was signed"
        if [{"least": 1, **rule} for rule in json.loads(content).get("thresholds", [])] != rules:
            yield f"{POLICY} has other rules than the manifest says"
    elif kept or rules:
        yield f"scores.json was measured under a policy that the release does not hold ({POLICY})"
    verdicts = (said := records.get("policy") or {}).get("verdicts", [])
    if [{name: entry.get(name) for name in rule} for entry, rule in zip(verdicts, rules, strict=True)] != rules:
        yield "records.json gives verdicts on other rules than the policy's"
    for entry in verdicts:
        value: Any = scores
        for step in entry["score"].split("/"):
            value = value.get(step) if isinstance(value, dict) else None
        bounds = [value.get(name) for name in TRIPLE] if isinstance(value, dict) else [None] * 3
        if [entry[n] for n in TRIPLE] != bounds or entry["verdict"] not in ("PASS", "REVIEW") or "exceptions" in said:
            yield f"records.json gives other verdicts on {entry['score']} than the scores do, or one that fails"


def _pages(folder: Path, key: Path | None) -> Found:
    records, references = {name: _json(folder, name) for name in JSONS[:3]}, _json(folder, "references.json")
    for source in (*records["sources.json"]["corpus"], *records["sources.json"]["dialogues"]):
        digests = [str(archive.get("sha256")) for archive in source.get("archives") or []]
        if FORBIDDEN.search(str(source.get("licence"))) or any(len(digest) != 64 for digest in digests):
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
            bare = re.sub(r"`[^`]*`|\]\([^)]*\)|<https?://[^>]*>|^\s*(?:#+|-|\d+\.) ", " ", line)
            for found in re.findall(r"(?<![\w.\-])[-+]?\d[\d.,]*", bare):
                yield f"{page} line {number + 1}: the number {found} has no reference"


def _shown(before: str, value: Any) -> int:
    """How many characters at the end of a text show a value; none where they show something else."""
    if isinstance(value, str | bool):
        words = ("yes" if value else "no") if isinstance(value, bool) else value.translate(TABLE)
        forms = (" ".join(words.split()), json.dumps(value, ensure_ascii=False).replace("<", "\\u003c"))
        return next((len(form) for form in forms if form and before.endswith(form)), 0)
    match = re.search(r"(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?)( %)?$", before)
    if not match or not isinstance(value, int | float):
        return 0
    scaled, decimals = value * (100 if match[3] else 1), len(match[2] or "")
    exact = str(value) if isinstance(value, int) and not match[3] and not decimals else f"{scaled:.{decimals}f}"
    return len(match[0]) if exact == match[1].replace(",", "") else 0


if __name__ == "__main__":
    found = verify(*map(Path, sys.argv[1:])) if 1 < len(sys.argv) < 4 else ["give FOLDER, or FOLDER and KEY.pub"]
    lines = [*(line.encode("unicode_escape").decode() for line in found), GAPS, "NOT verified" if found else "verified"]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(1 if found else 0)
