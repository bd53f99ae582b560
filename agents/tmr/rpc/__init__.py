# SPDX-License-Identifier: Apache-2.0
"""Messages between twins and upstreams, and the connection that carries them."""
