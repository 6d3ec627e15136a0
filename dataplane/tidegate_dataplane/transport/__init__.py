"""How callers reach us: TLS, client certificates, and the proxies that are trusted to speak for callers.

It knows nothing of routes, policies or consumers; it says who is at the other end of a connection and how we know.
"""
