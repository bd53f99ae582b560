# SPDX-License-Identifier: Apache-2.0
"""Words for people about a failed connection."""

import errno

import aiohttp
import pytest

from tmr.rpc.upstream_client import explain


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError(), "connection reset"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection reset"),
        (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), "connection reset"),
        (aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"), "connection reset"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "connection reset"),
        (aiohttp.ServerDisconnectedError(), "connection closed by it"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to it"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_failed_connection_in_words(error: BaseException, words: str) -> None:
    assert explain(error) == words
