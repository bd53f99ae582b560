# SPDX-License-Identifier: Apache-2.0
"""A licence server of one machine: the network licence server."""
