"""Programs of others, run where they can reach nothing: few system calls, bounds on all that they take."""
