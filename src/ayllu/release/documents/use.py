"""What the model may be used for, and what not: words that go along with every release."""

from __future__ import annotations

ACCEPTABLE_USE = """\
# Acceptable use

These are requests of those who made the model to those who use it. The licence of the weights, which stands in
`LICENSE`, is what binds; it allows more than is wise.

## What it is for

Research on language models, teaching, and programs whose users know that a small language model writes and can check
what it says.

## What it is not for

- Decisions about people: work, credit, housing, schooling, insurance, asylum, policing, courts.
- Advice on health, law or money that nobody checks who has learnt to.
- Anything where a false sentence can hurt somebody: machines, vehicles, medicine, weapons, power and water.
- Text that passes for that of a person, or of somebody in particular, in front of people who were not told.
- Harassment, threats, sexual content with minors, instructions for weapons or for breaking into machines of others.
- Finding out what its sources say of a private person.

## What was not done

Its safety was measured only as far as the card's hazards say; what the card does not list was not measured. Put a
filter in front of people who did not ask for a language model, such as the one that `ayllu serve` has.

## When something goes wrong

Write to whoever gave you the release. A release can be revoked: `ayllu release revocations` reads the publisher's
list, and a revoked model is not served, exported or chatted with any more.
"""
