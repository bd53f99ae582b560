# SPDX-License-Identifier: Apache-2.0
"""The load: a process of its own, the same loop and the same clock for every peer."""
