"""How a result comes to be: stages, their keys, the store that keeps their artifacts, and the records of every run."""
