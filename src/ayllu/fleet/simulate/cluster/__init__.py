"""Many jobs on one cluster: queues, gangs, backfill, preemption, pods, failures and a power cap."""
