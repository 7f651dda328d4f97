"""Turn a recipe into a real job on an existing engine: this machine, Slurm, Kubernetes, Ray or SkyPilot.

`job` says what is launched, one file for each engine says how, and `records` remembers what runs where. No engine's
client is imported: all are spoken to through their own command-line tools, so planning needs none of them.
"""
