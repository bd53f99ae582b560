# SPDX-License-Identifier: Apache-2.0
"""The benchmark lives beside the package `tmr`, not in it: the checkout is on the path for its tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
