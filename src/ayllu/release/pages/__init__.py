"""The pages of a release that people read, of which every number is a reference to its records."""
