# SPDX-License-Identifier: Apache-2.0
"""Everything that `tmr.licensing` raises.

    LicensingError            code, reason, remedy: what a person needs
    ├── BadSerial             a text or number that is no serial of a CmContainer
    ├── BadItem               a Product Item, key, or name outside its limits
    ├── BadKey                bytes that hold no usable Ed25519 key
    ├── BadStatement          a container's statement that cannot be believed
    ├── BadRequest            a request file that a vendor cannot use
    ├── NotIssued             the vendor refuses to issue an update
    ├── NotSigned             a container does not sign a borrowing
    ├── BadShare              what an upstream sent for a borrow file does not hold together
    └── Refused               a container refuses an update file, and stays as it was

All are `ValueError`s, so that a limit broken inside a decoded message becomes msgspec's `ValidationError`.
Functions here raise nothing else for any input of the documented type, however hostile.
"""


class LicensingError(ValueError):
    """A mistake in licence data. No problem document: a vendor's tools raise it without a server.

    `code` is a stable slug for programs, `reason` says what is wrong and where, `remedy` what to do about it.
    """

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(code, reason, remedy)
        self.code = code
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}. {self.remedy[:1].upper()}{self.remedy[1:]}."


class BadSerial(LicensingError):
    """No serial of a CmContainer. Codes: `ill-formed`, `unknown-mask`, `out-of-range`, `wrong-kind`."""


class BadItem(LicensingError):
    """A Product Item or licence key outside its limits. Code: `out-of-range`."""


class BadKey(LicensingError):
    """No Ed25519 key where one is expected. Code: `bad-key`."""


class BadStatement(LicensingError):
    """A statement that cannot be believed. Codes: `ill-formed`, `unknown-key`, `tampered`."""


class BadRequest(LicensingError):
    """A request file that cannot be used. Codes: `ill-formed`, `tampered`, `foreign-signature`."""


class NotIssued(LicensingError):
    """The vendor refuses to issue.

    Codes: `not-three`, `not-one`, `duplicate-container`, `serial-collision`, `other-system`, `other-kind`,
    `wrong-firm`, `vendor-key-changed`, `update-pending`, `record-behind`, `nothing-to-issue`, `too-many-new`,
    `too-many-items`, `unknown-licence`, `ordered-twice`, `licence-exists`, `reference-used`,
    `no-unit-counter`, `units-lowered`, `out-of-range`.
    """


class NotSigned(LicensingError):
    """A container does not sign a borrowing. Codes: `no-update`, `item-differs`."""


class BadBorrowSignature(LicensingError):
    """A share of a borrow file that cannot be used. Codes: `ill-formed`, `tampered`, `other-update`."""


class UpdateRefused(LicensingError):
    """A container refuses an update and stays as it was.

    Codes: `ill-formed`, `unknown-vendor`, `tampered`, `wrong-firm`, `vendor-key-changed`, `parts-differ`,
    `other-system`, `other-container`, `other-kind`, `replayed`, `older-counter`, `counter-skips`,
    `units-lowered`, `too-many-items`.
    """
