# SPDX-License-Identifier: Apache-2.0
"""Queries of a twin to an upstream besides the quorum protocol (msgpack)."""

from typing import Generic, TypeVar

import msgspec

from tmr.licensing import BorrowSignature, SignedStatement
from tmr.quorum.read_index import ReadIndex

R_co = TypeVar("R_co", covariant=True)


class Query(msgspec.Struct, Generic[R_co], frozen=True):
    """Base of the messages whose reply is an `R_co`."""


class ReadContainer(Query[SignedStatement], frozen=True, tag="read-container"):
    """State what your container holds."""


class SignBorrowing(Query[BorrowSignature], frozen=True, tag="sign-borrowing"):
    """Sign the borrow file of the borrowing `borrow`, from your own ledger, not before `read`."""

    borrow: str
    read: ReadIndex
