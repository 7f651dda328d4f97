"""Files that this machine makes for itself once: C code compiled for its processor, and whatever is slow to make."""
