"""What both agents share at the rim: clocks, configuration, logs, TLS identities, serving, supervision."""
