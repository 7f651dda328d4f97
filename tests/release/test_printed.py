"""The card on paper: a PDF that others read, of a release that verifies and no other."""

from __future__ import annotations

import json

import pypdf
import pytest

from ayllu.cli.release import app
from ayllu.lab.error import UserError
from ayllu.release.build import build_release
from ayllu.release.documents.printed import print_card
from support.release import edit


@pytest.fixture
def drawn(given, tmp_path):
    """A release with a real picture, whose description would be a formula elsewhere."""
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([3, 2, 1])
    figure.savefig(tmp_path / "loss.png")
    records = given["records"] | {"description": "Costs $5^{x_ and \\frac{."}
    build_release(tmp_path / "drawn", **given | {"records": records}, figures=[tmp_path / "loss.png"])
    return tmp_path / "drawn"


def test_the_card_becomes_a_pdf_with_its_scores_its_figures_and_its_text(drawn, tmp_path, capsys) -> None:
    out = tmp_path / "card.pdf"
    assert app(["print", str(drawn), "--out", str(out), "--json"], result_action="return_value") == 0
    pages = json.loads(capsys.readouterr().out)["pages"]
    read = pypdf.PdfReader(out)
    assert len(read.pages) == pages >= 3
    text = "".join(page.extract_text() for page in read.pages)
    for said in ("hellaswag (60 items)", "Held-out bits per byte", "everyday-english", "Costs $5^{x_", "## Verify"):
        assert said in text, said
    assert any(len(page.images) for page in read.pages)


def test_only_what_verifies_is_printed_and_nothing_is_left_half_written(built, drawn, release, tmp_path) -> None:
    edit(release / "records.json", lambda records: records["training"].update(seed=5))
    with pytest.raises(UserError, match="only what verifies"):
        print_card(release, tmp_path / "card.pdf")
    with pytest.raises(UserError, match="cannot be written"):
        print_card(drawn, tmp_path / "nowhere" / "card.pdf")
    assert not list(tmp_path.rglob("*.pdf*"))
    # What begins as a picture and is none.
    with pytest.raises(UserError, match=r"loss_curve\.png of the release is no picture"):
        print_card(built.folder, tmp_path / "card.pdf")
    assert not list(tmp_path.rglob("*.pdf*"))
