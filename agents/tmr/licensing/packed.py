# SPDX-License-Identifier: Apache-2.0
"""MessagePack from untrusted peers: msgspec's decoders raise more than their own error."""

from typing import TypeVar

import msgspec

_T = TypeVar("_T")


def unpack(decoder: msgspec.msgpack.Decoder[_T], data: bytes) -> _T:
    """Decodes the bytes. Raises msgspec.DecodeError and nothing else."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None
