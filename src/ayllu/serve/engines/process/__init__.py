"""Any engine in a process of its own, which is watched and started again: what ends it ends no server."""
