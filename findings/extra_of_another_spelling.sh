#!/usr/bin/env bash
# pip 23.0 (Debian 12's own) installs trafilatura without a part that it cannot be imported without, and exits with 0:
# justext asks for the extra `html_clean` of lxml, which lxml calls `html-clean`.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
for pip in 23.0.1 24.0; do
  python3 -m venv "pip-$pip"
  "pip-$pip/bin/python" -m pip install --quiet --disable-pip-version-check "pip==$pip"
  "pip-$pip/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps lxml==6.1.3
  status=0
  "pip-$pip/bin/python" -m pip install --disable-pip-version-check trafilatura==2.3.1 justext==3.0.2 lxml==6.1.3 \
    >out.txt 2>&1 || status=$?
  echo "pip $pip: exit status $status"
  grep -o "WARNING: lxml.*does not provide.*" out.txt | head -1 || true
  if "pip-$pip/bin/python" -c "import trafilatura" 2>error.txt; then
    echo "  import trafilatura: works"
    works+=" $pip"
  else
    echo "  import trafilatura: $(tail -2 error.txt | tr '\n' ' ')"
    fails+=" $pip"
  fi
done
# Seen: the same command ends well with both, and only the newer pip treats - and _ in names of extras as equal.
[ "${works:-}" = " 24.0" ] && [ "${fails:-}" = " 23.0.1" ]
