"""Texts to learn a tokenizer from, to measure a model on, to encode, and to look for in what is kept."""

from __future__ import annotations

from pathlib import Path

ENGLISH = [
    "A man is sitting on a roof. He starts pulling up roofing on a roof.",
    "Question: How do you keep a door open? Answer: Put a stone in front of the door, then let go of the door.",
    "The children walked to the river in the morning, and when they came back they were tired, wet and happy.",
    "She was a much better surgeon than her sister, so she always got the harder cases at the hospital.",
    "Pour the water into the pot, add salt, and wait until it boils. Then put the noodles in for nine minutes.",
]

SENTENCES = [
    "The llama walks up the hill to eat the green grass in the morning.",
    "A boy asks his mother where the sun goes at night, and she smiles.",
    "They cook rice and beans, and then they sit down and eat together.",
    "Grüße aus Köln, дорогой друг! 你好，世界。 🦙🏔️",
    "In 1781 there were 24 llamas; the herd's oldest was Ñusta, who'd seen the sea.  Two   spaces, tabs\tand code:\n",
]

SAMPLES = {
    "English": "It's 12:30; we'll meet 1,234,567 people at the café's door, won't we?",
    "German": "Die Größe der Straße überraschte Jürgen völlig – „wirklich“?",
    "French": "Où est l'élève ? Ça va très bien, merci à tous !",
    "Spanish": "¿Dónde está el niño? ¡Mañana será otro día!",
    "Portuguese": "Não há coração que não sinta saudade às vezes.",
    "Italian": "Perché no? È così bello quando c'è il sole.",
    "Dutch": "Zo'n prachtige dag is 's ochtends ideeën waard.",
    "Polish": "Zażółć gęślą jaźń, proszę państwa.",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Hungarian": "Árvíztűrő tükörfúrógép és egyéb őrültségek.",
    "Turkish": "Iğdır'ın ışığı İstanbul'dan görülür mü?",
    "Vietnamese": "Tiếng Việt có nhiều dấu: ở, ữ, ặ, ệ.",
    "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ukrainian": "Ґанок, їжак і щось іще — усе є.",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "Arabic": "مرحبا بكم في ١٢٣ مدينة جميلة، أليس كذلك؟",
    "Hebrew": "שָׁלוֹם עולם, מה שלומך היום?",
    "Hindi": "नमस्ते दुनिया, आप कैसे हैं? १२३४५",
    "Thai": "สวัสดีชาวโลก วันนี้อากาศดีมาก",
    "Chinese": "今天天气真好,我们去公园散步吧。1234年",
    "Japanese": "吾輩は猫である。名前はまだ無い。カタカナ",
    "Korean": "안녕하세요 세계, 오늘은 날씨가 좋네요.",
    "Quechua": "Ayllunchikpi tukuy ima sumaqmi, ñuqanchikpaq.",
    "code": "def f(x: int) -> None:\n\tfor i in range(10):\r\n        print(f'{x}')  # ok\n\n\n",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ☃︎ 🇵🇪",
    "spaces": "a  b   c \t\n \n\n  d \u00a0 e\u3000f ",
    "specials as text": "<|begin_of_text|><|eot_id|> <|start_header_id|>system<|end_header_id|>",
    "long s": "the '\u017f and '\u212a and 'LL and 'Ve",
    "broken UTF-8 replaced": b"caf\xe9 \xff\xfe ok \xf0\x9f\x98".decode("utf-8", "replace"),
    "broken UTF-8 escaped": b"caf\xe9 \xff\xfe ok \xf0\x9f\x98".decode("utf-8", "surrogateescape"),
    "halves of a pair": "\ud83d\ude00 \ud83d alone",
    "nothing": "",
    "a long word": "x" * 26_000 + " " * 26_000 + "é" * 3,
}


def left_of(word: str, folder: Path) -> list[str]:
    """The files of a folder that hold a word in any of their bytes."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and word.encode() in path.read_bytes().lower()
    ]
