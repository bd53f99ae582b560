# SPDX-License-Identifier: Apache-2.0
"""The kernel's word on whether a time source keeps the wall clock (adjtimex(2), STA_UNSYNC).

Linux clears that flag for the program that keeps time (chrony with `rtcsync`, systemd-timesyncd, ntpd), sets
it again once that has said nothing for about nine hours, and at once when anybody sets the clock by hand.
"""

import sys

if sys.platform == "linux":
    import ctypes
    from typing import Final

    STA_UNSYNC: Final = 0x40

    class _Timex(ctypes.Structure):
        """The begin of `struct timex`, and room for the rest, which is not used."""

        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_char * 512),
        )

    _library = ctypes.CDLL(None)

    def synchronised() -> bool | None:
        """A time source keeps the wall clock; None: the kernel does not say. Changes nothing (`modes` 0)."""
        state = _Timex()
        if _library.adjtimex(ctypes.byref(state)) < 0:
            return None  # forbidden, as in some containers
        return not state.status & STA_UNSYNC

else:

    def synchronised() -> bool | None:
        """Unknown on this platform."""
        return None
