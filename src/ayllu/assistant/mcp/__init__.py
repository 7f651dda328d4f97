"""The Model Context Protocol, both ways: servers of others as tools, and our tools for the clients of others."""
