"""Jinja test `tmr_look_same`: whether a file of the machine is as it should be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any


def same(found: Mapping[str, Any], path: str, text: str) -> bool:
    """Whether `found`, told by ansible.builtin.find, has the file `path` with this text, of root, 0644."""
    checksum = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    wanted = {"path": path, "checksum": checksum, "mode": "0644", "pw_name": "root", "gr_name": "root"}
    return any(
        all(file.get(name) == value for name, value in wanted.items()) for file in found.get("files", ())
    )


class TestModule:
    """What Ansible loads."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        """Names and functions of the tests."""
        return {"tmr_look_same": same}
