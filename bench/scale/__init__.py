"""What depends on size, and should not: real daemons on loopback, with small and with large states."""
