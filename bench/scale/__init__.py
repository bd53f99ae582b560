# SPDX-License-Identifier: Apache-2.0
"""Figures that must not depend on size: real daemons on loopback, with small and with large states."""
