# SPDX-License-Identifier: Apache-2.0
"""Five Linux machines and a client inside one: see docs/reference/lab.md. Standard library only."""
