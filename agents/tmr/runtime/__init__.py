# SPDX-License-Identifier: Apache-2.0
"""Runtime of the agents: clocks, configuration, logs, TLS identities, serving, supervision."""
