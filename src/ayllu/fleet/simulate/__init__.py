"""What happens to a run, and to a whole fleet, between the first day and the last.

`failures` draws what breaks, `run` lives through it with one training job, `cluster` with many jobs in queues, `power`
counts the watts, `scenarios` names the situations that were published, and `picture` draws a year.
Each of them is a model of discrete events: nothing happens between two events, so days cost no more than seconds.
"""
