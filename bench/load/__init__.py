"""The load: a process of its own, the same loop and the same clock for every peer."""
