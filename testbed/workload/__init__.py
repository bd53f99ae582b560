# SPDX-License-Identifier: Apache-2.0
"""Clients at work, on the public async client: plans of what they do, and records of their requests."""
