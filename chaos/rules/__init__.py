# SPDX-License-Identifier: Apache-2.0
"""Rules that a campaign has to prove, one a module: `check(history)` gives what was broken, in words."""
