"""The glasses: audio and camera in, speech out, privacy ledger."""
