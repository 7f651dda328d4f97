"""The machines: what they can do, what a run on them costs, and how a year on them goes."""
