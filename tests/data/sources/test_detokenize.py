"""Spelling of running English out of HellaSwag's: what stands in its files, and that plain text stays as it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.data.document import Document
from ayllu.data.sources.detokenize import detokenize


@pytest.mark.parametrize(
    ("spelled", "restored"),
    [
        ("Avoid the \" peel and stick \" variety.", 'Avoid the "peel and stick" variety.'),
        ('Say this, " i am so sorry for that. " then wait.', 'Say this, "I am so sorry for that." Then wait.'),
        ('Tap on " search. If using a mouse, point to it.', 'Tap on "search." If using a mouse, point to it.'),
        ('Know the " iceberg principle.', 'Know the "iceberg principle."'),
        ('Cut cubes of 2 " by 4 " or so, 1/4 " thick.', 'Cut cubes of 2" by 4" or so, 1/4" thick.'),
        ("Heat it to 350 ° f (177 ° c) first.", "Heat it to 350°F (177°C) first."),
        ("It costs $1 , 000 , or 2 , 500 ml.", "It costs $1,000, or 2,500 ml."),
        ("Things like work (more later ). Go on.", "Things like work (more later). Go on."),
        ("For example : Wash it.", "For example: Wash it."),
        ("In that case i'm sure, and i think so.", "In that case I'm sure, and I think so."),
        ("Go to settings] general] about to see it.", "Go to settings > general > about to see it."),
        ("Visit fanpop. Com and log in to facebook.", "Visit fanpop.com and log in to Facebook."),
        ("On monday, an american in new york got an iphone.", "On Monday, an American in New York got an iPhone."),
        ("In the us, windows 10 came in march 2015.", "In the US, Windows 10 came in March 2015."),
        ("It may have vitamin c, and we march.", "It may have vitamin C, and we march."),
        ("Let us march on; i may use a mac and cheese recipe.", "Let us march on; I may use a mac and cheese recipe."),
        ("The u.s. army met dr. smith in the 50 's.", "The U.S. army met Dr. Smith in the 50's."),
        ("A man in a t - shirt , hat and shoes", "A man in a t-shirt, hat and shoes"),
        ("The reason you can be a' plus' model is size.", "The reason you can be a 'plus' model is size."),
        ("Add 4 tbsp. Of olive oil.", "Add 4 tbsp. of olive oil."),
        ("Open your browser. . Click it..", "Open your browser. Click it."),
    ],
)  # fmt: skip
def test_what_stands_in_the_files(spelled: str, restored: str) -> None:
    assert detokenize(spelled) == restored


WORDS = ("A", "man", "walks", "home.", "She", "sings", "(well)", "in", "the", "garden,", "and", "laughs:", "late!")
plain = st.lists(st.sampled_from(WORDS), min_size=1)


@given(plain)
def test_plain_sentences_stay(words: list[str]) -> None:
    text = " ".join(words)
    assert detokenize(text) == text[:1].upper() + text[1:]


def test_real_documents_come_out_in_running_spelling(everyday: list[Document]) -> None:
    text = "\n".join(d.text for d in everyday)
    assert not re.search(r" [,;:!?)]", text)
    assert not re.search(r'(?<!\d)" [,.]|\( ', text)
    assert not re.search(r"\[(?:header|title|step|substeps)\]", text)
    assert not re.search(r"\bi(?:'m|'ve|'ll)\b|\benglish\b|\bfacebook\b(?![/.@])", text)
    # Restoring twice changes next to nothing: what is repaired stays repaired.
    again = sum(detokenize(d.text.partition("\n\n")[2]) != d.text.partition("\n\n")[2] for d in everyday)
    assert again < 0.01 * len(everyday)
