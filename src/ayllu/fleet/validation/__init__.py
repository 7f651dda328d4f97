"""The planner against measured runs: tables of them, the fit of the constants, and the errors."""
