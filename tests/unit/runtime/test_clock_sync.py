# SPDX-License-Identifier: Apache-2.0
"""State of the clock that this test runs with, as the kernel tells it."""

import subprocess
import sys

import pytest

from tmr.runtime.clock_sync import synchronised

OTHERWISE = """
import ctypes
state = (ctypes.c_char * 1024)()
answer = ctypes.CDLL(None).ntp_adjtime(ctypes.byref(state))
print(answer, int.from_bytes(state[5 * ctypes.sizeof(ctypes.c_long):][:4], "little") & 0x40)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing says so")
def test_it_is_what_another_call_of_the_kernel_says() -> None:
    told = subprocess.run([sys.executable, "-c", OTHERWISE], capture_output=True, text=True, check=True)
    answer, unsynchronised = map(int, told.stdout.split())
    assert synchronised() is (None if answer < 0 else not unsynchronised)
