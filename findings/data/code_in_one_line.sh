#!/usr/bin/env bash
# inscriptis 2.7.6, which makes text of web pages as a browser lays them out: lines and indentation of <pre> are kept,
# those of <pre><code>, as HTML's standard has code and every site of documentation writes it, are not. A function in
# Python is one line, which is no Python, and a diff, a table of figures or a poem goes the same way; where only words
# are coloured by <span>, the text between them keeps its lines and theirs is cut. By the default layout a <span> also gets
# a space around it, so that $<span>5</span>.<span>50</span> is "$ 5 . 50" and half a word is a word; <b> gets none. No
# warning; the layout "strict" ends the spaces and not the loss of lines. resiliparse 2.0.1 keeps all of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check inscriptis==2.7.6 resiliparse==2.0.1
cat > run.py <<'PY'
from importlib.metadata import version

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from resiliparse.extract.html2text import extract_plain_text

CODE = "def f(x):\n    if x:\n        return 1\n    return 2"
PRICE = "<p>$<span>5</span>.<span>50</span>, un<b>believ</b>able</p>"
COLOURED = CODE.replace("if x:\n        return 1", "<span>if x:\n        return 1</span>")
PAGES = {"pre": f"<pre>{CODE}</pre>", "pre code": f"<pre><code>{CODE}</code></pre>", "coloured": f"<pre>{COLOURED}</pre>"}
print(f"inscriptis {version('inscriptis')}, resiliparse {version('resiliparse')}")
for name, page in (PAGES | {"price": PRICE}).items():
    page = f"<html><body>{page}</body></html>"
    strict = get_text(page, ParserConfig(css=CSS_PROFILES["strict"]))
    texts = {"inscriptis": get_text(page), "strict": strict, "resiliparse": extract_plain_text(page)}
    for library, text in texts.items():
        print(f"{name}, {library}: {text.strip()!r}{' (all of it)' if text.strip() == CODE else ''}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
test "$(grep -c '^pre, .*(all of it)$' seen)" = 3
test "$(grep -c 'resiliparse: .*(all of it)$' seen)" = 3
grep -qx "pre code, inscriptis: 'def f(x): if x: return 1 return 2'" seen
grep -qx "pre code, strict: 'def f(x): if x: return 1 return 2'" seen
grep -q '^coloured, inscriptis: .*if x: return 1' seen
grep -qx "price, inscriptis: '\$ 5 . 50 , unbelievable'" seen
grep -qx "price, strict: '\$5.50, unbelievable'" seen
