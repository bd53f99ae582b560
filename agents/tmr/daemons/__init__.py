# SPDX-License-Identifier: Apache-2.0
"""Entry points: each puts one daemon together."""
