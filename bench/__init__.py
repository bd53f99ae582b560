# SPDX-License-Identifier: Apache-2.0
"""The cost of the TMR system, beside other systems for the same use, in alternation on the same machine."""
