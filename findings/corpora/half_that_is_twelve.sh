#!/usr/bin/env bash
# pylatexenc 2.11: LatexNodes2Text makes text of papers and answers in LaTeX for search and training. \frac{1}{2} is
# 1/2; of a command that it has no rule for it keeps what stands in the braces, side by side. \dfrac{1}{2} and
# \tfrac{1}{2}, which amsmath has for the same half, so are 12, \binom{5}{2} is 52, and 2\frac{1}{2} is 21/2.
# \sqrt[3]{8} is a square root, of x^{a+b} it is no longer seen where the exponent ends, and \neg p, which has no
# braces, is p: the sentence says the contrary. No mark, warning or error, strict_latex_spaces or not, while it does
# read \neq, \not\in, \sqrt and hundreds of signs, so that one takes for understood what is in the text. The numbers are
# plain ones, so that no filter finds them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pylatexenc==2.11
cat > run.py <<'PY'
from importlib.metadata import version

from pylatexenc.latex2text import LatexNodes2Text

TEXTS = [r"$\frac{1}{2}$", r"$\dfrac{1}{2}$", r"$\tfrac{1}{2}$", r"$2\frac{1}{2}$", r"$\binom{5}{2}$", r"$\sqrt[3]{8}$"]
TEXTS += [r"$x^{a+b}$", r"$\neg p$", r"$a \neq b$"]
print(f"pylatexenc {version('pylatexenc')}")
for text in TEXTS:
    read = {LatexNodes2Text(strict_latex_spaces=strict).latex_to_text(text).replace(" ", "") for strict in (False, True)}
    print(f"{text} is {', '.join(sorted(read))}")
PY
env/bin/python run.py | tee seen
tail -n +2 seen | diff - <(cat <<'SEEN'
$\frac{1}{2}$ is 1/2
$\dfrac{1}{2}$ is 12
$\tfrac{1}{2}$ is 12
$2\frac{1}{2}$ is 21/2
$\binom{5}{2}$ is 52
$\sqrt[3]{8}$ is √(8)
$x^{a+b}$ is x^a+b
$\neg p$ is p
$a \neq b$ is a≠b
SEEN
)
