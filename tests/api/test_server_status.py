# SPDX-License-Identifier: Apache-2.0
"""The status tells an operator how the licences are used."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.lending import borrower
from tests.support.tmr_system import ask, item, key, running, scenario


@scenario
async def test_units_borrowed_seats_emergencies_and_the_queue(tmp_path: Path) -> None:
    licences = (
        item(1, product=1, quantity=1, borrow_s=3600),
        item(2, product=1, quantity=1, emergency=True, usage_s=3600),
        item(3, product=2, quantity=None, units=100),
    )
    der = x509.load_pem_x509_certificate(borrower().certificate).public_bytes(Encoding.DER)
    async with running(tmp_path, *licences) as system, system.active.client(certificate=der) as client:

        async def status() -> list[dict[str, object]]:
            return list((await client.get("/v1/status")).json()["licences"])

        before = await status()
        assert [(one["emergency"], one["first_use"], one["waiting"]) for one in before] == [
            (False, None, 0),
            (True, None, 0),
            (False, None, 0),
        ]
        lent = await client.post("/v1/borrowings", json=ask(1, seconds=600), headers=key())
        assert lent.status_code == 201, lent.text
        emergency = await client.post("/v1/sessions", json=ask(1), headers=key())
        assert emergency.json()["emergency"]
        place = await client.post("/v1/sessions", json=ask(1, wait=True), headers=key())
        assert place.status_code == 202
        await client.post("/v1/sessions", json=ask(2, units=12), headers=key())
        one, two, three = await status()
        assert (one["in_use"], one["borrowed"], one["waiting"]) == (1, 1, 1)
        assert (two["in_use"], two["borrowed"], two["emergency"]) == (1, 0, True)
        assert (two["first_use"], two["ends"]) == (
            emergency.json()["granted_at"],
            emergency.json()["ends_at"],
        )
        assert (three["units"], three["units_remaining"]) == (100, 88)


@scenario
async def test_the_page_runs_nothing_but_itself(tmp_path: Path) -> None:
    """It has no text of its own from licences: names are set as text by its script."""
    async with running(tmp_path, item(name="<script>alert(1)</script>")) as system:
        async with system.active.client() as client:
            answer = await client.get("/")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "alert" not in answer.text
        assert "innerHTML" not in answer.text
