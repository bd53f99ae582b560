# SPDX-License-Identifier: Apache-2.0
"""The demo: a lab, the system on it, a licence, and the story of losing machines."""
