# SPDX-License-Identifier: Apache-2.0
"""Tuning of the garbage collector: seldom, and not among objects that the process keeps for life.

Reference counts free nearly everything here at once. A look at all objects would stop the loop for longer,
the more sessions there are.
"""

import gc
from typing import Final

YOUNG: Final = 20_000
"""Objects made, less those freed, after which the young ones are looked at; Python's own 2,000 or less."""
OLDER: Final = (50, 100)
"""Number of looks at one generation that make one at the next."""


def settle() -> None:
    """Call once everything that lives as long as the process is there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *OLDER)
