"""Runtime of the agents: clocks, configuration, logs, TLS identities, serving, supervision."""
