"""A device without hardware: files as sensors, a battery that empties, noise of wind and steps, a script to play."""
