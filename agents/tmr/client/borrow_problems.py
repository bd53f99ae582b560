# SPDX-License-Identifier: Apache-2.0
"""Errors of a borrow file.

TmrError
└── BorrowError             `message` and `remedy`, as everywhere
    ├── BadBorrowFile       no borrow file, or one of a version that this client does not understand
    ├── Tampered            it was changed after it was signed, or put together from several
    ├── WrongVendor         its licence is not from the vendor whose key was given
    ├── TooFewSignatures    fewer than two containers of the vendor's update signed it
    ├── BeyondLicence       it lends more than the vendor's licence allows
    ├── OtherBorrower       it is bound to another key than the one at hand
    ├── NotYetValid         its time has not come
    ├── BorrowExpired       its time is over
    ├── ClockSetBack        the clock shows an earlier time than it did before
    ├── LacksFeature        the licence lacks a module
    ├── NotMaintained       this version of the program is outside the Maintenance Period
    └── BorrowStoreError    the directory of borrow files, or a file in it, cannot be used
"""

from tmr.api.errors import TmrError


class BorrowError(TmrError):
    """Base of all."""


class BadBorrowFile(BorrowError):
    """No borrow file, or one of a version that this client does not understand."""


class Tampered(BorrowError):
    """The file was changed after it was signed, or put together from several."""


class WrongVendor(BorrowError):
    """The licence is not from the vendor whose key was given."""


class TooFewSignatures(BorrowError):
    """Fewer than two containers of the vendor's update signed it."""


class BeyondLicence(BorrowError):
    """It lends more than the vendor's licence allows."""


class OtherBorrower(BorrowError):
    """It is bound to another key than the one at hand."""


class NotYetValid(BorrowError):
    """Its time has not come."""


class BorrowExpired(BorrowError):
    """Its time is over."""


class ClockSetBack(BorrowError):
    """The clock shows an earlier time than it did before."""


class LacksFeature(BorrowError):
    """The licence lacks a module."""


class NotMaintained(BorrowError):
    """This version of the program is outside the Maintenance Period."""


class BorrowStoreError(BorrowError):
    """The directory of borrow files, or a file in it, cannot be used."""
