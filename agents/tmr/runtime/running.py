# SPDX-License-Identifier: Apache-2.0
"""Description of what a process runs, for a deployment that compares it with what the disk has.

systemd removes the file with the process (RuntimeDirectory=): there is none of a process that has ended.
"""

import hashlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Final

from tmr.runtime.logs import fields

log = logging.getLogger(__name__)

FILE: Final = "running.json"


def describe(*files: Path) -> None:
    """Write the release and the SHA-256 of each file, and of the unit, into the unit's runtime directory.

    Call it before the files are read: one that changes meanwhile counts as not run. RUNTIME_DIRECTORY comes
    from systemd, TMR_UNIT_FILE from the unit; without the first nothing is written.
    """
    directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not directory:
        return
    unit = os.environ.get("TMR_UNIT_FILE")
    named = [*files, *([Path(unit)] if unit else [])]
    found = {
        "release": Path(sys.prefix).name,
        "pid": os.getpid(),
        "files": {str(file): _digest(file) for file in named},
    }
    try:
        (Path(directory) / FILE).write_text(json.dumps(found))
    except OSError as error:
        log.warning("cannot write what runs", extra=fields(directory=directory, reason=str(error)))


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
