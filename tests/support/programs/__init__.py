"""Programs that tests start in processes of their own."""

from pathlib import Path

PROGRAMS = Path(__file__).parent
