# SPDX-License-Identifier: Apache-2.0
"""The licence tracking record of real processes, through the crash of two upstreams in turn."""

import contextlib

from testbed.loopback import FIRM, Machines, Twin, body, key, until
from tmr.ledger import Line
from tmr.ledger.export import Reader
from tmr.licensing import container_serial, open_request

PRODUCT = 77


def sessions(machines: Machines, twin: Twin, count: int) -> None:
    client = machines.client(twin)
    for _ in range(count):
        granted = client.post("/v1/sessions", json=body(PRODUCT), headers=key())
        assert granted.status_code == 201, granted.text
        assert client.delete(f"/v1/sessions/{granted.json()['id']}").status_code == 204


def requests(machines: Machines) -> dict[str, bytes]:
    """The containers' keys as the vendor has them."""
    with contextlib.ExitStack() as stack:
        admins = [stack.enter_context(upstream.admin()) for upstream in machines.upstreams]
        files = [admin.get(f"/v1/requests/{FIRM}").content for admin in admins]
    keys = [bytes.fromhex(open_request(file).container_key) for file in files]
    return {str(container_serial(one)): one for one in keys}


def exported(machines: Machines, twin: Twin, keys: dict[str, bytes]) -> tuple[list[Line], set[str]] | None:
    """The lines of the product and who vouches for them; None while it is refused."""
    answer = machines.client(twin, "olga").get("/v1/tracking", params={"firm_code": FIRM})
    if answer.status_code == 503:
        return None
    assert answer.status_code == 200, answer.text
    reader = Reader(answer.content.splitlines())
    lines = [line for line in reader if line.product_code == PRODUCT]
    vouchers = reader.vouchers(keys)
    assert [one.problem for one in vouchers] == [""] * len(vouchers)
    assert reader.span.whole
    return lines, {one.upstream for one in vouchers}


def test_a_vendor_gets_a_record_that_survived_what_the_system_survived(machines: Machines) -> None:
    twin = machines.serve(product=PRODUCT, quantity=3)
    keys = requests(machines)
    sessions(machines, twin, 3)
    found = exported(machines, twin, keys)
    assert found is not None
    assert [line.event for line in found[0]] == ["granted", "released"] * 3
    up1, _, up3 = machines.upstreams
    up3.kill()
    until(lambda: not machines.status_of(twin)["upstreams"][2]["reachable"], "up3 is missed")
    sessions(machines, twin, 2)
    up3.start()
    assert machines.whole() is twin
    up1.kill()
    until(lambda: not machines.status_of(twin)["upstreams"][0]["reachable"], "up1 is missed")
    found = until(lambda: exported(machines, twin, keys), "up2 and up3 vouch for it")
    assert [line.event for line in found[0]] == ["granted", "released"] * 5
    assert found[1] == {"up2", "up3"}
    up1.start()
    machines.whole()
