# SPDX-License-Identifier: Apache-2.0
"""Errors of the store."""

from pathlib import Path

from tmr.api.deployment import Deployment


class StoreError(Exception):
    """The store cannot be used; the text says why and what to do. `lasting`: a later start will not help."""

    def __init__(self, text: str, *, lasting: bool = True) -> None:
        super().__init__(text)
        self.lasting = lasting


class DamagedRows(StoreError):
    """A row of the journal, the snapshot or the promise is not what was written; the container may be whole.

    `what`: which one, for people.
    """

    def __init__(self, text: str, what: str) -> None:
        super().__init__(text)
        self.what = what


def other_owner(path: Path, known: str, upstream: str) -> StoreError:
    """Error for a store that was begun under another name."""
    return StoreError(
        f"{path}: the store is of the upstream {known}, but name is {upstream} in the configuration; correct "
        f"name, or move the whole directory {path.parent} away and start again: this upstream then joins as "
        "a new member with a new container"
    )


def other_deployment(path: Path, stored: Deployment, configured: Deployment) -> StoreError:
    """Error for a store that was begun in another deployment."""
    return StoreError(
        f"{path}: the store is of {stored.server}, but this is configured as {configured.server}; correct "
        f"mode, or move the whole directory {path.parent} away and start again: it then has a new container, "
        "for which the vendor issues licences"
    )
