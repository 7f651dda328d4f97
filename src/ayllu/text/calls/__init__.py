"""Calls of tools as models write them: what a template says of their form, and reading them from a reply."""
