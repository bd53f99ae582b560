# SPDX-License-Identifier: Apache-2.0
"""Answers of the client API as tables and text for people."""
