"""Messages between twins and upstreams, and the connection that carries them."""
