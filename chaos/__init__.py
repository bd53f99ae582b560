# SPDX-License-Identifier: Apache-2.0
"""A campaign of real faults on the lab, what clients saw of it, and the proof from their records."""
