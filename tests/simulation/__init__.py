# SPDX-License-Identifier: Apache-2.0
"""The production quorum and ledger in a world of seeded faults; only clock, disk and network are replaced."""
