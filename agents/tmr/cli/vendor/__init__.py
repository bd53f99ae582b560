# SPDX-License-Identifier: Apache-2.0
"""`tmr vendor`: the vendor's own tools, away from any machine of a TMR system."""
