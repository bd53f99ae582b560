# SPDX-License-Identifier: Apache-2.0
"""Redundancy of the system: three replicas, of which two decide. Every layer counts by these."""

from typing import Final

from tmr.api.deployment import TMR

REPLICAS: Final = TMR.replicas
"""Upstreams of a system, each with a replica of the journal and a container of its own."""
MAJORITY: Final = TMR.majority
"""Replicas whose word is the system's: two of these have at least one in common with any other two."""
