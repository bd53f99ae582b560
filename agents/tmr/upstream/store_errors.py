"""Errors of the store."""


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
