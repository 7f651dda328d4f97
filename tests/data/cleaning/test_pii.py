"""Masks: what carries a valid check is masked, wherever it stands; years, scores, prices and versions are not."""

import ipaddress
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ayllu.data.cleaning.iban import iban_valid
from ayllu.data.cleaning.pii import MARKS, luhn, mask

digits = st.text("0123456789", min_size=1, max_size=1)
before = st.sampled_from(["", "Call ", "Her number: ", "(", "write to "])
after = st.sampled_from(["", ".", ", please.", ")", " today"])


def number(size: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=size, max_size=size)


users = st.from_regex(r"[a-z]{1,9}([._+-][a-z0-9]{1,5})?", fullmatch=True)


@given(before, after, users, st.sampled_from(["ex.org", "a-b.co.uk"]))
def test_mail_addresses(start: str, end: str, user: str, domain: str) -> None:
    masked, found = mask(f"{start}{user}@{domain}{end}")
    assert masked == f"{start}<email>{end}"
    assert found == [("<email>", f"{user}@{domain}")]


@given(before, after, st.sampled_from("3456"), number(14), st.sampled_from(["", " ", "-"]))
def test_cards_are_masked_exactly_when_their_check_digit_fits(
    start: str, end: str, first: str, middle: str, gap: str
) -> None:
    body = first + middle
    for last in "0123456789":
        card = body + last
        assume(len(set(card)) > 2)
        shown = gap.join(card[i : i + 4] for i in range(0, 16, 4))
        text = f"{start}{shown}{end}"
        assert ("<card>" in mask(text)[0]) is luhn(card)


@pytest.mark.parametrize(
    "iban", ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"]
)
def test_ibans(iban: str) -> None:
    assert mask(f"Pay to {iban} now.")[0] == "Pay to <iban> now."
    wrong = iban[:-1] + ("1" if iban[-1] != "1" else "2")
    assert not iban_valid(wrong)
    assert "<iban>" not in mask(f"Pay to {wrong} now.")[0]


@given(st.integers(0, 2**32 - 1))
def test_public_addresses_only(value: int) -> None:
    address = ipaddress.IPv4Address(value)
    masked, _ = mask(f"The server at {address} answers.")
    assert ("<ip>" in masked) is address.is_global


@given(st.integers(0x2001 << 112, (0x2002 << 112) - 1))
def test_public_addresses_of_version_six(value: int) -> None:
    address = ipaddress.IPv6Address(value)
    assume(address.is_global)
    assert mask(f"ping {address} twice")[0] == "ping <ip> twice"
    assert mask(f"ping {address.exploded} twice")[0] == "ping <ip> twice"


@given(before, after, st.from_regex(r"[2-9][0-9]{2}", fullmatch=True), number(4))
def test_american_telephone_numbers(start: str, end: str, area: str, line: str) -> None:
    for shown in (f"{area}-555-{line}", f"({area}) 555-{line}", f"1-{area}-555-{line}", f"+1 {area} 555 {line}"):
        assert mask(f"{start}{shown}{end}")[0] == f"{start}<phone>{end}"


@pytest.mark.parametrize("shown", ["+44 20 7946 0958", "+49 30 901820", "+33 1 23 45 67 89", "+91-98765-43210"])
def test_international_telephone_numbers(shown: str) -> None:
    assert mask(f"Ring {shown}, please.")[0] == "Ring <phone>, please."


def test_social_security_numbers() -> None:
    assert mask("His number is 123-45-6789.")[0] == "His number is <ssn>."
    assert mask("No such area: 000-45-6789, 666-45-6789, 912-45-6789.")[1] == []


@pytest.mark.parametrize(
    "text",
    [
        "It was built in 1861-1865 and again in 1914, 1918 and 1945.",
        "They won 21-14, 28-3 and 3-2; the final score was 110-108.",
        "The house costs $1,250,000 or 1 250 000 euros.",
        "Use version 9.10.2.0 or Snapchat v10.1.2.3 (EC 2.7.3.2).",
        "Open 192.168.0.1 in your browser to set up the router at 10.0.0.138.",
        "At 12:30:45 on 2021-10-12 she drew 5 10 15 20 25 lines.",
        "Preheat the oven to 350-400 degrees and add 1/2-3/4 cup.",
        "Order number 1234 5678 9012 3456 and ISBN 978-3-16-148410-0.",
        "Psalms 119:105-112 and John 3:16; see pages 200-210.",
        "Follow @ayllu, or meet me @ 8.",
        "Pi is 3.14159265358979, e is 2.718281828459045.",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert mask(text) == (text, [])


@given(st.text(max_size=200))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once, found = mask(text)
    assert mask(once) == (once, [])
    assert len(found) == sum(once.count(mark) - text.count(mark) for mark in MARKS)


@given(st.text(st.characters(exclude_categories=("Nd", "No", "Nl"), exclude_characters="@"), max_size=200))
def test_text_without_digits_and_at_signs_is_untouched(text: str) -> None:
    assert not re.search(r"\d", text)
    assert mask(text) == (text, [])


PERSONAL = """
Ring +44 (0)20 7946 0958 after six.|<phone>
Ring +44 20 7946 0958 after six.|<phone>
My number is +49 30 901820.|<phone>
Tel. +33.1.42.68.53.00|<phone>
Registrant Phone: +1.7035555555|<phone>
Admin Fax: +44.2079460958|<phone>
Fax +41 44 668 18 00|<phone>
Mobile +91-98765-43210|<phone>
Call (212) 555-0182 now.|<phone>
Call 212-555-0182 now.|<phone>
Call 212.555.0182 now.|<phone>
Call 212 555 0182 now.|<phone>
Call 1-800-555-0199 now.|<phone>
Her cell: +1 415 555 2671|<phone>
WhatsApp +55 11 91234-5678|<phone>
Telefon +43 1 514440|<phone>
Reach us at +61 2 9374 4000 or by mail.|<phone>
Write to jane.doe@example.org today.|<email>
Write to JANE+news@mail.example.co.uk today.|<email>
The visitor came from 84.17.45.12 at noon.|<ip>
The server 12.4.1.2 does not answer.|<ip>
ping 8.8.8.8 twice|<ip>
Connected to 5.9.3.2:443 at noon.|<ip>
Pay with 4539 1488 0343 6467 please.|<card>
Pay to DE89 3704 0044 0532 0130 00 please.|<iban>
His number is 123-45-6789.|<ssn>
Ring 0044 20 7946 0018 after six.|<phone>
From there it is 0049 30 901820 in the day.|<phone>
Dial 011 44 20 7946 0018 from Ohio.|<phone>
Mobile: 00447911123456|<phone>
The office has 020 7946 0018 and a bell.|<phone>
The office (020) 7946 0018 is open.|<phone>
Our line 0161 496 0000 is free.|<phone>
Write or call 07911 123456 at night.|<phone>
Tel. 01 42 68 53 00 in Paris|<phone>
The bureau has 030/901820 as ever.|<phone>
Teléfono: 91 123 45 67|<phone>
Call 212/555-0187 now.|<phone>
The desk, 212/555-0187, is open.|<phone>
His number is 212 345 6789 there.|<phone>
Visitors came from ::ffff:8.8.8.8 twice.|<ip>
Visitors came from ::FFFF:808:808 twice.|<ip>
It was 64:ff9b::8.8.8.8 behind the gate.|<ip>
It was 2001:4860:4860::8.8.8.8 behind the gate.|<ip>
Nobody at 84.17.45.12-84.17.45.99 knew.|<ip> <ip>
Pay to de89 3704 0044 0532 0130 00 now please.|<iban>
Pay to be68539007547034 now please.|<iban>
Pay to BE68 5390 0754 7034 NOW please.|<iban>
Pay to Gb82-WEST-1234-5698-7654-32 please.|<iban>
Pay to DE 89 3704 0044 0532 0130 00 please.|<iban>
From NL91 ABNA 0417 1643 00 NL91 ABNA 0417 1643 00 please.|<iban> <iban>
"""
OTHER = """
The film goes from ISO 200-400-1600 without grain.
It lies at latitude +37.7749295 and longitude -122.4194155.
The races are over 250 500 1000 metres.
The reading was +1.23456789 volts.
The reading was +1.23456789.
The reading was +1.2345678901 then.
The reading was +44.2079460958 then.
The sum is +4420794609.58 in all.
The value rose by +31.41592653 in all.
Update to iOS 12.4.1.2 tonight.
Update to iPadOS 12.4.1.2 tonight.
The attribute is OID 1.3.6.1 in the tree.
As paragraph 8.2.1.1 says, it is allowed.
See 3.14.15.9 of the annex.
Resistors of 220 330 4700 ohms, 100 220 330 4700 in a row.
The sizes are 300-600-1200 in the list.
Choose 400 800 1600 or 3200.
It scored 21-14, 28-3 and 110-108.
They had 250 000 000 inhabitants then.
Growth was +250 000 000 people.
The change was +5 000 000 euros.
The date is 2021-10-12 12:30:45.
Use version 9.10.2.0 or v10.1.2.3 of it.
Order number 1234 5678 9012 3456 came.
ISBN 978-3-16-148410-0 is the book.
Pi is 3.14159265358979 or so.
The router has 192.168.0.1 inside.
Kernel 5.15.0.1 and Windows 10.0.19.41 were tried.
The matrix 212 345 6789 has rank one.
The rows are 212 345 6789 and 312 445 6788 there.
It speaks PCIe 64.0.0.1 and USB 50.2.0.1 and no more.
We ran OpenSSL 64.1.1.9 and the old Mesa 33.0.4.1 there.
The draw was 01 07 12 23 38 on Friday.
The steps are 05 10 15 20 25 in a row.
At 05:30 on 02 03 2021 we met 0123 people.
The sum is ab12cd34ef56ab78cd90ef12ab34cd56 in short.
The part is de89 3704 0044 0532 0130 01 in the list.
Sample 0001 0002 0003 and 0417 1643 0004 were lost.
We call 2019-2020 a season, and contact 2300 2400 of them by voice 2018 2021.
The clock says 12:30:45 and ::1 is at home.
"""


def test_masks_find_people_and_leave_numbers() -> None:
    wanted = [line.split("|") for line in PERSONAL.strip().splitlines()]
    missed = [text for text, mark in wanted if [found for found, _ in mask(text)[1]] != mark.split()]
    others = OTHER.strip().splitlines()
    wrong = [text for text in others if mask(text)[1]]
    assert (missed, wrong) == ([], []), f"of {len(wanted)} and {len(others)}"
