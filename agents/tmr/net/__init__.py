"""Network: mutual TLS, identities, HTTP connections, frames, limits."""
