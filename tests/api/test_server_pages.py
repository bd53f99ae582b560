# SPDX-License-Identifier: Apache-2.0
"""Lists of sessions, places in queues and borrowings come in pages."""

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.lending import borrower
from tests.support.tmr_system import ALICE, BOB, OLGA, ask, item, key, running, scenario
from tmr.api.fields import PAGE_MAX


async def listed(client: httpx.AsyncClient, path: str, limit: int) -> list[dict[str, Any]]:
    """All pages of the list."""
    found, asked = [], {"limit": str(limit)}
    while True:
        answer = await client.get(path, params=asked)
        assert answer.status_code == 200
        found.append(answer.json())
        after = answer.json()["next"]
        if after is None:
            return found
        asked["after"] = after


@scenario
async def test_sessions_then_places_in_queues(tmp_path: Path) -> None:
    async with running(tmp_path, item(quantity=3), item(2, product=2, quantity=1)) as system:
        active = system.active
        async with active.client(ALICE) as alice, active.client(BOB) as bob, active.client(OLGA) as olga:

            async def open_one(client: httpx.AsyncClient, product: int) -> str:
                body = ask(product, wait=True)
                return str((await client.post("/v1/sessions", json=body, headers=key())).json()["id"])

            ours = [await open_one(alice, 1), await open_one(alice, 2)]
            theirs = [await open_one(bob, 1), await open_one(bob, 1)]
            waiting = [await open_one(alice, 1), await open_one(bob, 2), await open_one(alice, 2)]
            pages = await listed(olga, "/v1/sessions", 3)
            assert [len(page["sessions"]) + len(page["queue"]) for page in pages] == [3, 3, 1]
            assert [one["id"] for page in pages for one in page["sessions"]] == ours + theirs
            assert [one["id"] for page in pages for one in page["queue"]] == waiting
            assert [one["position"] for page in pages for one in page["queue"]] == [1, 1, 2]
            pages = await listed(alice, "/v1/sessions", 1)
            assert [one["id"] for page in pages for one in page["sessions"]] == ours
            assert [one["id"] for page in pages for one in page["queue"]] == [waiting[0], waiting[2]]
            assert len(await listed(olga, "/v1/sessions", 1000)) == 1


@scenario
async def test_borrowings(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(borrower().certificate.decode())
    async with (
        running(tmp_path, item(quantity=9, borrow_s=3600)) as system,
        system.active.client(ALICE, der) as alice,
        system.active.client(BOB) as bob,
    ):
        body = {**ask(), "seconds": 600}
        lent = []
        for _ in range(5):
            lent.append((await alice.post("/v1/borrowings", json=body, headers=key())).json()["id"])
        pages = await listed(alice, "/v1/borrowings", 2)
        assert [one["id"] for page in pages for one in page["borrowings"]] == lent
        assert [len(page["borrowings"]) for page in pages] == [2, 2, 1]
        assert (await listed(bob, "/v1/borrowings", 2))[0]["borrowings"] == []


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/borrowings"])
@scenario
async def test_a_page_has_bounds(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as system, system.active.client() as client:
        for wrong in ({"limit": "0"}, {"limit": str(PAGE_MAX + 1)}, {"after": "x"}, {"after": "s.1"}):
            answer = await client.get(path, params=wrong)
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:tmr:problem:bad-request")
