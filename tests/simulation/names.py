# SPDX-License-Identifier: Apache-2.0
"""The machines of a simulated system."""

UPSTREAMS = ("up1", "up2", "up3")
TWINS = ("tmr1", "tmr2")
CLIENTS = ("station-a", "station-b", "station-c", "station-d", "station-e")
