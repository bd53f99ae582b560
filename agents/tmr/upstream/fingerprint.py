# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of this machine: a store that was copied to another machine is recognised by it."""

import hashlib
import hmac
import sys
from pathlib import Path
from typing import Final

_PURPOSE: Final = b"tmr-upstream container store"


class NoFingerprint(Exception):
    """The machine has no identity of its own; the text says what to do."""


if sys.platform == "win32":
    import winreg

    def _machine_id() -> bytes:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0]).encode()

else:

    def _machine_id() -> bytes:
        return Path("/etc/machine-id").read_bytes().strip()


def machine_fingerprint() -> str:
    """64 hexadecimal digits that stay the same for the life of this machine's installation.

    A keyed hash of the machine id, as machine-id(5) asks: the id itself must not be spread.
    """
    try:
        machine = _machine_id()
    except OSError as error:
        raise NoFingerprint(f"the machine's id cannot be read ({error}); see machine-id(5)") from None
    if len(machine) < 32:
        raise NoFingerprint("the machine has no machine id; create it: systemd-machine-id-setup")
    return hmac.new(_PURPOSE, machine, hashlib.sha256).hexdigest()
