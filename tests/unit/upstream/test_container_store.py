# SPDX-License-Identifier: Apache-2.0
"""The container: made once, changed only by what a vendor signed, and durable before it is said."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.vendor import FIRM, Vendor
from tmr.licensing import (
    BadKey,
    Container,
    Licence,
    UpdateRefused,
    open_request,
    open_statement,
    private_key_to_pem,
)
from tmr.upstream.container_store import KEY_FILE, ContainerStore
from tmr.upstream.store import Store
from tmr.upstream.store_errors import StoreError
from tmr.upstream.store_schema import FILE

MACHINE = "a" * 64
ACT_ID = "lab-0123456789abcdef"


class Site:
    """One upstream's directories, whose keeper is opened anew as often as a test likes."""

    def __init__(self, root: Path) -> None:
        self.state, self.vendors = root / "state", root / "vendors"
        self.state.mkdir(parents=True)
        self.vendors.mkdir()
        self.store: Store | None = None

    def open(self, act_id: str = ACT_ID, name: str = "up1") -> ContainerStore:
        self.close()
        self.store = Store.open(self.state, MACHINE)
        return ContainerStore.open(self.store, name, act_id, self.vendors)

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None

    def trust(self, vendor: Vendor) -> None:
        (self.vendors / f"{vendor.firm_code}.pem").write_bytes(vendor.public_pem)


@pytest.fixture
def sites(tmp_path: Path) -> list[Site]:
    return [Site(tmp_path / name) for name in ("up1", "up2", "up3")]


@pytest.fixture
def site(sites: list[Site]) -> Site:
    return sites[0]


def test_the_first_start_makes_a_container_that_stays(site: Site) -> None:
    first = site.open()
    assert first.container.serial.startswith("130-")
    assert (first.container.generation, first.container.items) == (0, ())
    key = site.state / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(path.name for path in site.state.glob(f"{KEY_FILE}*")) == [KEY_FILE]
    again = site.open()
    assert again.container == first.container
    statement = open_statement(again.statement, first.container.key)
    assert (statement.upstream, statement.container, statement.act_id) == (
        "up1",
        first.container.serial,
        ACT_ID,
    )
    site.close()


def test_a_crash_before_the_container_is_stored_leaves_nothing(site: Site) -> None:
    (site.state / f"{KEY_FILE}.new").write_bytes(private_key_to_pem(Ed25519PrivateKey.generate()))
    serial = site.open().container.serial
    assert site.open().container.serial == serial
    site.close()


def test_a_crash_before_the_key_has_its_name_is_mended(site: Site) -> None:
    serial = site.open().container.serial
    site.close()
    (site.state / KEY_FILE).rename(site.state / f"{KEY_FILE}.new")
    assert site.open().container.serial == serial
    assert (site.state / KEY_FILE).exists()
    site.close()


def test_a_lost_store_does_not_bring_the_same_container_back_at_its_first_counter(site: Site) -> None:
    site.open()
    site.close()
    (site.state / FILE).unlink()
    with pytest.raises(StoreError, match="the store was lost; move the whole directory"):
        site.open()
    site.close()


def test_another_or_no_key_is_refused(site: Site) -> None:
    site.open()
    site.close()
    key = site.state / KEY_FILE
    key.write_bytes(private_key_to_pem(Ed25519PrivateKey.generate()))
    with pytest.raises(StoreError, match="not the key of the container"):
        site.open()
    key.write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="cannot be read"):
        site.open()
    key.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        site.open()
    site.close()


def test_another_act_id_is_refused(site: Site) -> None:
    site.open()
    with pytest.raises(StoreError, match="correct act_id"):
        site.open("lab-ffffffffffffffff")
    site.close()


def test_an_activation_is_durable_and_says_what_it_changed(sites: list[Site]) -> None:
    vendor = Vendor()
    keepers = [site.open(name=f"up{n}") for n, site in enumerate(sites, 1)]
    for site in sites:
        site.trust(vendor)
    requests = [container_store.request(FIRM) for container_store in keepers]
    assert open_request(requests[0]).container == keepers[0].container.serial
    file = vendor.issue(requests, Licence(product_code=1001, quantity=5, name="Editor"))
    done = keepers[0].activate(file)
    assert (done.generation, done.firm_code, done.counter) == (1, FIRM, 1)
    assert [(change.change, change.item.product_code) for change in done.changes] == [("added", 1001)]
    again = sites[0].open()
    assert again.container == keepers[0].container
    assert open_statement(again.statement, again.container.key).items == again.container.items
    for container_store in keepers[1:]:
        container_store.activate(file)
    keepers[0] = again
    second = vendor.issue(
        [container_store.request(FIRM) for container_store in keepers],
        Licence(product_code=1002, quantity=None, name="Viewer"),
    )
    done = keepers[0].activate(second)
    assert [(c.change, c.item.tmr_id) for c in done.changes] == [("unchanged", 1), ("added", 2)]
    for site in sites:
        site.close()


def test_what_is_refused_changes_nothing(sites: list[Site]) -> None:
    vendor = Vendor()
    keepers = [site.open(name=f"up{n}") for n, site in enumerate(sites, 1)]
    file = vendor.issue(
        [container_store.request(FIRM) for container_store in keepers], Licence(product_code=1001, quantity=5)
    )
    container_store, site = keepers[0], sites[0]
    before = container_store.container

    def refused(data: bytes, code: str) -> None:
        with pytest.raises(UpdateRefused) as caught:
            container_store.activate(data)
        assert caught.value.code == code
        assert container_store.container == before
        assert stored(site) == before

    refused(file, "unknown-vendor")
    (site.vendors / "README.pem").write_text("not a firm")
    site.trust(vendor)
    refused(b"{}", "ill-formed")
    refused(file.replace(b'"payload":"', b'"payload":"AAAA', 1), "tampered")
    container_store.activate(file)
    before = container_store.container
    refused(file, "replayed")
    (site.vendors / "6000011.pem").write_text("nonsense")
    with pytest.raises(BadKey, match=r"6000011\.pem"):
        container_store.activate(file)
    for other in sites:
        other.close()


def stored(site: Site) -> Container | None:
    assert site.store is not None
    return site.store.container()


def test_the_private_key_is_never_readable_by_others_whatever_the_umask(site: Site) -> None:
    former = os.umask(0)
    try:
        site.open()
    finally:
        os.umask(former)
    assert stat.S_IMODE((site.state / KEY_FILE).stat().st_mode) == 0o600
    site.close()
