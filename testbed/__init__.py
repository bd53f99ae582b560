# SPDX-License-Identifier: Apache-2.0
"""Shared parts of demo, chaos, bench and tests: TMR systems on machines and on loopback, faults, probers."""
