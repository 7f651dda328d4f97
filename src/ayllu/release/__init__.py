"""A model made public with proof: card, licences, digests, signature, verification."""
