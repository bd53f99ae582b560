# SPDX-License-Identifier: Apache-2.0
"""The testbed lives beside the package `tmr`: the checkout itself is on the path for these tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
