# SPDX-License-Identifier: Apache-2.0
"""A car plant on the demo's machines: 12 products, 400 seats, two sites, 200 stations for a minute."""
