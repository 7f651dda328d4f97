"""Text to phonemes by the program espeak-ng, which is GPL and stays a process of its own."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess

from ayllu.lab.error import UserError

PROGRAM = "espeak-ng"
SECONDS = 10
MARKS = re.compile(r"[.!?;:,]+(?=\s|$)")
FLAGS = re.compile(r"\([a-z-]+\)")
"""How espeak-ng tells of a word in another language."""


@functools.lru_cache(maxsize=4096)
def phonemes(text: str, voice: str) -> str:
    """The phonemes of a text in the International Phonetic Alphabet, with its punctuation.

    Raises UserError where the program is missing or does not know the language.
    """
    pieces = [piece.strip() for piece in MARKS.split(text)]
    marks = [found.group()[0] for found in MARKS.finditer(text)]
    spoken = [piece if re.search(r"\w", piece) else "" for piece in pieces]
    lines = iter(_run("\n\n".join(piece for piece in spoken if piece), voice, sum(map(bool, spoken))))
    out = []
    for place, piece in enumerate(spoken):
        if piece:
            out.append(next(lines) + (marks[place] if place < len(marks) else ""))
    return " ".join(out)


def _run(text: str, voice: str, count: int) -> list[str]:
    if not text:
        return []
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(f"the voice needs the program {PROGRAM}; install it, as by `apt install {PROGRAM}`")
    if count > 1:
        # The program joins and cuts clauses as it likes, so each has its own call.
        return [_run(piece, voice, 1)[0] for piece in text.split("\n\n")]
    command = [program, "-q", "--ipa", "-v", voice, "--stdin"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"{PROGRAM} cannot speak {voice} ({said[-1] if said else 'no reason given'})")
    return [FLAGS.sub("", " ".join(done.stdout.decode().split()))]
