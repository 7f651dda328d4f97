"""Models that take pictures, asked about them, and compared with others on the same held-out scenes."""
