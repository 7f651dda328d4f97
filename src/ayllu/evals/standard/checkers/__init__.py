"""Whether generated text is right: numbers, mathematics, instructions, programs."""
