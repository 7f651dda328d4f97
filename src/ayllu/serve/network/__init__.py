"""Where the server listens, behind which proxies, and with which certificate."""
