# SPDX-License-Identifier: Apache-2.0
"""A server that does nothing: what a request costs before anybody has looked at it.

    python -m bench.floor PORT CERTIFICATE KEY CA

FastAPI on uvicorn, asked over mutual TLS as a twin is. Checkouts and releases get the same answer at once, as
long as a real one: no rule is looked at, nothing is stored, nobody else is asked.
"""

from __future__ import annotations

import ssl
import sys

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response

SESSION = msgspec.json.encode(
    {
        "id": 32 * "0",
        "container": "131-1234567890",
        "firm_code": 6_000_010,
        "product_code": 100,
        "tmr_id": 1,
        "reference": 0,
        "access_mode": "user-limit",
        "ttl": 600,
        "granted_at": "2026-01-01T00:00:00.000Z",
        "in_use": 1,
        "quantity": 1_000_000,
        "epoch": 2,
        "emergency": False,
        "warnings": [],
    }
)


def application() -> FastAPI:
    """The two routes, with nothing behind them."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/sessions")
    async def checkout(request: Request) -> Response:
        await request.body()
        return Response(SESSION, 201, media_type="application/json")

    @app.delete("/v1/sessions/{session}")
    async def release(session: str) -> Response:
        return Response(status_code=204)

    return app


def main() -> None:
    """Serve until SIGTERM."""
    port, certificate, key, ca = sys.argv[1:]
    uvicorn.run(
        application(),
        host="127.0.0.1",
        port=int(port),
        http="httptools",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="error",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_ca_certs=ca,
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )


if __name__ == "__main__":
    main()
