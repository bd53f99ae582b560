# SPDX-License-Identifier: Apache-2.0
"""The upstream agent: one store, one container, one vote."""
