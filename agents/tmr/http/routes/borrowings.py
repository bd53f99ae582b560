# SPDX-License-Identifier: Apache-2.0
"""Routes of borrowings, and of their signed files."""

from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse

from tmr.api.borrowing import Borrowing, BorrowingList, BorrowRequest
from tmr.api.fields import PAGE_MAX
from tmr.http.client_api import ClientApi
from tmr.http.messages import address_of, answer, body_of, client_of, idempotency_key_of
from tmr.http.openapi import JOURNAL, WISHING, After, BorrowingName, Limit, documented
from tmr.net.server import public_key_of


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the routes of borrowings."""
    lending = api.licence_service.lending

    @app.post(
        "/v1/borrowings",
        response_model=Borrowing,
        status_code=201,
        tags=["borrowing"],
        openapi_extra=documented(*WISHING, "borrow-failed", "borrowing-ended", takes=BorrowRequest, key=True),
    )
    async def borrow(request: Request) -> Response:
        """Take a seat out of the network for a bounded time. The same key again: the same borrowing."""
        peer = client_of(request)
        asked = await body_of(request, BorrowRequest)
        found = await lending.borrow(
            peer, address_of(request), public_key_of(request), idempotency_key_of(request), asked
        )
        return answer(found, 201)

    @app.get(
        "/v1/borrowings",
        response_model=BorrowingList,
        tags=["borrowing"],
        openapi_extra=documented(*JOURNAL),
    )
    async def borrowings(request: Request, limit: Limit = PAGE_MAX, after: After = None) -> Response:
        """The own borrowings, the oldest first; an operator sees everybody's."""
        return answer(await lending.list(client_of(request), limit, after))

    @app.get(
        "/v1/borrowings/{borrowing}/file",
        response_class=JSONResponse,
        tags=["borrowing"],
        openapi_extra=documented("borrowing-ended", "access-denied", "borrow-not-signed", *JOURNAL),
    )
    async def borrow_file(request: Request, borrowing: BorrowingName) -> Response:
        """The signed file of a borrowing, to be used without the network. Any number of times."""
        data = await lending.file(client_of(request), borrowing)
        return Response(data, media_type="application/json")

    @app.delete(
        "/v1/borrowings/{borrowing}",
        status_code=204,
        tags=["borrowing"],
        openapi_extra=documented("access-denied", *JOURNAL),
    )
    async def give_back(request: Request, borrowing: BorrowingName) -> Response:
        """End a borrowing early. One that has ended already is no error."""
        await lending.give_back(client_of(request), borrowing)
        return Response(status_code=204)
