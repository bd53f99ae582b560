# SPDX-License-Identifier: Apache-2.0
"""The loss of a machine of a deployed system, beside keepalived on the same machines and network."""
