"""Commands of the lab: what is kept, how results differ, what was forecast, and which model a name stands for."""
