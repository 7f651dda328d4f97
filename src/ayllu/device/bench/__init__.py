"""How long an answer takes, and how much is heard wrongly: turns played in real time through the chain."""
