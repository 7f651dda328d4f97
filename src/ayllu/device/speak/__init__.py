"""A voice: text to clauses, clauses to phonemes, phonemes to sound, from the first clause on."""
