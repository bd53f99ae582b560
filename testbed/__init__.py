# SPDX-License-Identifier: Apache-2.0
"""Shared parts of demo, chaos and bench: a TMR system on the lab's machines, faults, probers, an operator."""
