"""ASGI middleware of the gateway, outermost first: security headers, the check of the host, limits of the body."""
