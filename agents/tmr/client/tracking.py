# SPDX-License-Identifier: Apache-2.0
"""Exports of the licence tracking record: too large to keep in memory, so they go into a file."""

import datetime as dt
import time
from typing import BinaryIO, Literal
from urllib.parse import urlencode

import httpx

from tmr.api.patience import EXPORT_WAIT
from tmr.client._operations import Answer, Request
from tmr.client._retry import Call, Done, Send, Wait
from tmr.client._sync import Client
from tmr.client._transport import answer_of, failure_of, http_request


def tracking(
    firm_code: int,
    begin: dt.datetime | None = None,
    end: dt.datetime | None = None,
    form: Literal["jsonl", "csv"] = "jsonl",
) -> Request:
    """The request for the record of one firm from `begin` until before `end` (aware, None: no bound)."""
    query: dict[str, str | int] = {"firm_code": firm_code, "format": form}
    for name, moment in (("from", begin), ("to", end)):
        if moment is not None:
            query[name] = moment.isoformat()
    return Request("GET", f"/v1/tracking?{urlencode(query)}")


def download(client: Client, request: Request, sink: BinaryIO) -> None:
    """Write the answer to `sink`, a seekable file, from its start; an attempt that broke is done anew.

    Needs an operator's certificate. Raises TmrError; what is in `sink` is then of no use.
    """
    client._process.check()
    config = client.config
    call = Call(request, config.servers, config.twins, client.policy, client.clock())
    while True:
        match call.next(client.clock()):
            case Done():
                sink.flush()
                return
            case Wait(seconds):
                time.sleep(seconds)
            case Send() as send:
                _attempt(client, request, send, call, sink)


def _attempt(client: Client, request: Request, send: Send, call: Call, sink: BinaryIO) -> None:
    if client._credentials.refresh():
        for one in client._pools.renew():
            one.close()
    pool = client._pools.take(send.address)
    retire = True
    options = http_request(request, send, client.config.port)
    options["timeout"] = httpx.Timeout(EXPORT_WAIT, connect=send.connect)
    try:
        with pool.client.stream(**options) as response:
            if response.status_code == httpx.codes.OK:
                sink.seek(0)
                sink.truncate()
                for part in response.iter_bytes():
                    sink.write(part)
                answer = Answer(response.status_code)
            else:
                response.read()
                answer = answer_of(response)
        retire = call.answered(answer, client.clock())
    except httpx.HTTPError as error:
        call.failed(failure_of(error, send), client.clock())
    finally:
        for one in client._pools.leave(send.address, pool, retire=retire):
            one.close()
