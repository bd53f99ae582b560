# SPDX-License-Identifier: Apache-2.0
"""Network: mutual TLS, identities, HTTP connections, frames, limits."""
