"""The upstream agent: one store, one container, one vote."""
