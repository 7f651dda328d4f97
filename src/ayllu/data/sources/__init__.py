"""Where raw documents come from: packaged archives, folders, data sets of the hub."""
