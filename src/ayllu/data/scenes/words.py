"""Words that stand in scenes."""

from __future__ import annotations

from random import Random

_WORDS = """
ant arm bag bed bus cat cow cup dog ear egg fox gas hat ice ink jam key leg map net oak oil pan
pen pig red rug sea sky sun tea toy van zoo baby ball bank barn bell bird boat book bowl cake
card city coat coin corn desk door duck farm fish flag food fork frog game gate gift gold hand
hill home hotel iron jazz king lake lamp leaf lion milk moon nest news note park path pear pool
rain ring road rock rope rose salt sand seed ship shoe shop silk snow soap sock song soup star
stop sugar tent tree wall wind wolf apple beach bread brick chair clock cloud dance dream earth
field flour fruit ghost glass grape green heart honey horse house juice knife lemon light market
metal money mouse music night ocean onion paint paper peach piano pilot plant plate queen river
robot salad sheep smile snake spoon stone storm table tiger tower train truck water whale wheel
world bakery bridge butter camera candle castle cheese coffee doctor dragon engine flower forest
garden guitar hammer island jacket kitchen ladder letter mirror monkey museum office orange
pencil pepper planet pocket potato rabbit school silver spider spring street summer ticket
tomato tunnel turtle violin window winter airport balloon blanket chicken compass dolphin
factory library morning mountain penguin pyramid rainbow station teacher theatre village weather
"""
WORDS = tuple(_WORDS.split())


def invented(rng: Random, syllables: int) -> str:
    """A word of consonant and vowel in turn, two letters a syllable, which no language is meant by."""
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(syllables))
