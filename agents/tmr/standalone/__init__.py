"""A licence server of one machine: the network licence server."""
