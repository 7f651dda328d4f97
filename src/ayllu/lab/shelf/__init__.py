"""What is kept: the list of all results and runs, their names and labels, what they need, and what can go."""
