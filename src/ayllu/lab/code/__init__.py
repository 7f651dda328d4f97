"""Which code made a result: what a stage reaches, function by function, read and never run."""
