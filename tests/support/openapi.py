# SPDX-License-Identifier: Apache-2.0
"""OpenAPI documents of the servers, as docs/reference has them.

python -m tests.support.openapi    writes them anew
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.support.network_server import Server
from tests.support.tmr_system import System

REFERENCE: Final = Path(__file__).parents[2] / "docs/reference"


def of_twin(directory: Path) -> dict[str, Any]:
    """Document of a twin. `directory`: an empty one."""
    system = System(directory)
    for twin in system.twins:
        twin.vip.stop()
    return system.twins[0].app.openapi()


def of_network_server(directory: Path) -> dict[str, Any]:
    """Document of a network licence server. `directory`: an empty one."""
    return Server(directory).app.clients.openapi()


DOCUMENTS: Final = {"openapi.json": of_twin, "openapi-network.json": of_network_server}
"""File in docs/reference, and where its content comes from."""


def text_of(document: dict[str, Any]) -> str:
    """The document as it is in the file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, make in DOCUMENTS.items():
        with tempfile.TemporaryDirectory() as directory:
            (REFERENCE / name).write_text(text_of(make(Path(directory))))
