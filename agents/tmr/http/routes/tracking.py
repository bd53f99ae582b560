# SPDX-License-Identifier: Apache-2.0
"""Route of exports of the licence tracking record."""

from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import FastAPI, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response, StreamingResponse

from tmr.api.fields import CODE_MAX, FIRM_CODE_MIN, WRITTEN
from tmr.http.client_api import ClientApi
from tmr.http.openapi import JOURNAL, OPERATORS, documented
from tmr.net.server import demand, peer_of

JSONL: Final = "application/jsonl"
CSV: Final = "text/csv; charset=utf-8"


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else max(0, round(moment.timestamp() * 1000))


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the route of exports."""
    tracking = api.tracking

    @app.get(
        "/v1/tracking",
        tags=["operation"],
        response_class=Response,
        responses={200: {"description": "The record", "content": {JSONL: {}, CSV: {}}}},
        openapi_extra=documented(*JOURNAL, roles=OPERATORS),
    )
    async def export(
        request: Request,
        firm_code: Annotated[int, Query(ge=FIRM_CODE_MIN, le=CODE_MAX)],
        from_: Annotated[AwareDatetime | None, Query(alias="from"), WRITTEN] = None,
        to: Annotated[AwareDatetime | None, Query(), WRITTEN] = None,
        format: Annotated[Literal["jsonl", "csv"], Query()] = "jsonl",  # noqa: A002
    ) -> Response:
        """The licence tracking record of one firm, from `from` until before `to`; for operators.

        JSON Lines that two containers vouch for (that of a network licence server alone), or CSV.
        """
        demand(peer_of(request), "operator")
        vouched = await tracking.vouched(firm_code, _ms(from_), _ms(to))
        lines, media = (tracking.csv, CSV) if format == "csv" else (tracking.jsonl, JSONL)
        name = f"tracking-{firm_code}.{format}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines(vouched), media_type=media, headers=headers)
