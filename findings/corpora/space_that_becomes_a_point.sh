#!/usr/bin/env bash
# sacremoses 0.2.0: MosesPunctNormalizer, which cleans text for translation and speech models, takes a no-break space
# between two digits for a decimal sign. "10 000 euros" with such a space, as French, Spanish, Czech and the rules of SI
# write it and as programs set it so that no line breaks there, becomes 10,000 by lang="fr", which is ten in French, and
# 10.000 by lang="en", which is ten in English. "2 500 000" is a number with two points, and two numbers that only stand
# side by side ("page 3 45") are one. An ordinary space stays. The documentation calls it punctuation, shows quotation
# marks, and no warning comes; norm_numbers=False leaves such numbers alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check sacremoses==0.2.0
cat > run.py <<'PY'
from importlib.metadata import version

from sacremoses import MosesPunctNormalizer

TEXTS = ["10~000 euros", "2~500~000 euros", "page 3~45", "10 000 euros"]  # ~ stands for a no-break space, U+00A0
print(f"sacremoses {version('sacremoses')}")
for lang in ("fr", "es", "en"):
    normalizer = MosesPunctNormalizer(lang=lang)
    for text in TEXTS:
        print(f"{lang}: {text} is {normalizer.normalize(text.replace('~', chr(0xA0)))}")
kept = MosesPunctNormalizer(lang="fr", norm_numbers=False).normalize("10\u00a0000 euros")
print(f"fr, norm_numbers=False: {kept.replace(chr(0xA0), '~')}")
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
fr: 10~000 euros is 10,000 euros
fr: 2~500~000 euros is 2,500,000 euros
fr: page 3~45 is page 3,45
fr: 10 000 euros is 10 000 euros
es: 10~000 euros is 10,000 euros
es: 2~500~000 euros is 2,500,000 euros
es: page 3~45 is page 3,45
es: 10 000 euros is 10 000 euros
en: 10~000 euros is 10.000 euros
en: 2~500~000 euros is 2.500.000 euros
en: page 3~45 is page 3.45
en: 10 000 euros is 10 000 euros
fr, norm_numbers=False: 10~000 euros
SEEN
)
