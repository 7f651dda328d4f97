"""ARC-AGI: puzzles of coloured grids, recursive forests that are grown on each puzzle alone, and simple programs."""
