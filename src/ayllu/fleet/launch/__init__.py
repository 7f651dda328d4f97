"""Turn a recipe into a real job on an existing scheduler: this machine, Slurm or Ray; written for Kubernetes, SkyPilot.

`batch_job` says what is launched, one file for each scheduler says how, and `records` remembers what runs where. No
scheduler's client is imported: all are spoken to through their own command-line tools, so planning needs none of them.
"""
