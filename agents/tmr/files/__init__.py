# SPDX-License-Identifier: Apache-2.0
"""Files that survive a power cut."""

import os
import sys
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: new, renamed and removed files. Raises OSError.

    Windows cannot sync a directory: nothing happens there.
    """
    if sys.platform != "win32":
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
