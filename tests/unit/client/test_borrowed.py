# SPDX-License-Identifier: Apache-2.0
"""A borrow file is accepted whole, by its borrower, in its time, from its vendor; all else is refused."""

import base64
import hashlib
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lending import (
    ACT_ID,
    DAY_MS,
    FIRM,
    FROM_MS,
    NOW,
    Borrower,
    Lender,
    borrower,
    item,
    update_file,
)
from tmr.api.errors import ConfigError
from tmr.client import borrow_problems
from tmr.client.borrow_problems import (
    BadBorrowFile,
    BeyondLicence,
    BorrowError,
    BorrowExpired,
    LacksFeature,
    NotMaintained,
    NotYetValid,
    OtherBorrower,
    Tampered,
    TooFewSignatures,
    WrongVendor,
)
from tmr.client.borrowed import BorrowedLicence, prove, read, verify
from tmr.licensing import (
    Container,
    activate,
    public_key_to_pem,
    raw_public_key,
    seal_borrow_file,
    share,
    virtual_serial,
)
from tmr.licensing import borrow_file as pure
from tmr.licensing.dsse import seal
from tmr.licensing.signing import fingerprint as key_fingerprint
from tmr.licensing.signing import pae
from tmr.licensing.update import UPDATE_TYPE, read_update_envelope

LENDER = Lender()
ALICE = borrower()
FILE = LENDER.file(ALICE)


def verified(
    data: bytes = FILE,
    *,
    lender: Lender = LENDER,
    vendor_key: bytes | str | None = None,
    to: Borrower = ALICE,
    now: datetime = NOW,
) -> BorrowedLicence:
    return verify(
        data, vendor_key=vendor_key or lender.vendor_pem, certificate=to.certificate, key=to.key, now=now
    )


def spelt(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def inside(envelope: dict[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return payload


def resigned(lender: Lender = LENDER, *, item: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """A file whose payload is changed before two real containers sign it: what a broken ledger might do."""
    tree = json.loads(lender.file(ALICE))
    payload = {**inside(tree["borrowing"]), **changes}
    payload["item"] = {**payload["item"], **(item or {})}
    signed = seal(pure.BORROWING_TYPE, json.dumps(payload).encode(), *lender.keys[:2])
    tree["borrowing"] = json.loads(signed)
    return spelt(tree)


# -- what is accepted --------------------------------------------------------------------------------------


def test_a_whole_file_gives_every_option_of_the_licence() -> None:
    licence = verified()
    product = LENDER.item
    assert (licence.firm_code, licence.product_code, licence.tmr_id, licence.reference) == (FIRM, 201, 1, 0)
    for name in ("name", "text", "customer", "user_data", "feature_map", "quantity", "units"):
        assert getattr(licence, name) == getattr(product, name)
    for name in ("expiration", "activation", "maintenance_start", "maintenance_end"):
        assert getattr(licence, name).timestamp() * 1000 == getattr(product, f"{name}_ms")
    assert (licence.since.timestamp() * 1000, licence.until.timestamp() * 1000) == (
        FROM_MS,
        FROM_MS + 3 * DAY_MS,
    )
    assert (licence.borrow, licence.client, licence.station, licence.user) == (
        "bor-1",
        "alice",
        "cad-07",
        "Zoë",
    )
    assert licence.borrower == ALICE.fingerprint
    assert (licence.act_id, licence.container) == (ACT_ID, str(virtual_serial(ACT_ID)))
    assert licence.update_id == "update-1"
    assert set(licence.signers) == {c.serial for c in LENDER.containers[:2]}


@pytest.mark.parametrize("signers", [(0, 1), (0, 2), (1, 2)])
def test_any_two_containers_are_enough_and_say_the_same(signers: tuple[int, int]) -> None:
    file = LENDER.file(ALICE, signers)
    assert inside(json.loads(file)["borrowing"]) == inside(json.loads(FILE)["borrowing"])
    assert verified(file).borrow == "bor-1"


@pytest.mark.parametrize(
    "key", [Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)], ids=["ed25519", "rsa"]
)
def test_borrowers_may_have_keys_of_other_kinds(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> None:
    bob = borrower(key)
    assert verified(LENDER.file(bob), to=bob).borrower == bob.fingerprint
    with pytest.raises(OtherBorrower):
        verified(LENDER.file(bob))


def test_a_renewed_certificate_with_the_same_key_is_the_same_borrower() -> None:
    key = Ed25519PrivateKey.generate()
    before, after = borrower(key), borrower(key)
    assert before.certificate != after.certificate
    assert verified(LENDER.file(before), to=after).borrow == "bor-1"


def test_a_plain_licence_of_one_container_needs_its_signature_alone() -> None:
    key, vendor = Ed25519PrivateKey.generate(), LENDER.vendor
    new = Container.create(ACT_ID, raw_public_key(key))
    file = read_update_envelope(update_file(vendor, LENDER.containers, [item()]))
    assert len(file.signatures) == 1
    single = json.loads(file.payload)
    single["parts"] = [
        {**single["parts"][0], "container": new.serial, "container_key": new.key.hex()},
    ]
    plain = {**single["parts"][0]["items"][0], "tmr_id": None}
    for product, error in ((plain, None), (single["parts"][0]["items"][0], TooFewSignatures)):
        single["parts"][0]["items"] = [product]
        update = json.dumps(single).encode()
        payload = inside(json.loads(FILE)["borrowing"])
        payload["item"] = product
        payload["update_digest"] = hashlib.sha256(update).hexdigest()
        tree = {
            "format": 1,
            "borrowing": json.loads(seal(pure.BORROWING_TYPE, json.dumps(payload).encode(), key)),
            "update": json.loads(seal(UPDATE_TYPE, update, vendor)),
        }
        if error is None:
            assert verified(spelt(tree)).tmr_id is None
        else:
            with pytest.raises(error):
                verified(spelt(tree))


# -- what is refused ---------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_byte_changed_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(FILE) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != FILE[at]))
    with pytest.raises(BorrowError):
        verified(FILE[:at] + bytes([value]) + FILE[at + 1 :])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(FILE)), st.binary(min_size=1, max_size=3))
def test_anything_added_or_cut_off_is_refused(at: int, more: bytes) -> None:
    with pytest.raises(BorrowError):
        verified(FILE[:at] + more + FILE[at:])
    with pytest.raises(BorrowError):
        verified(FILE[: min(at, len(FILE) - 1)])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_strangers_bytes_are_no_borrow_file(data: bytes) -> None:
    with pytest.raises(BadBorrowFile):
        verified(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["format", "borrowing", "update", "payload", "signatures", "item", "parts"]), JSON)
def test_other_values_in_the_right_places_are_refused(field: str, value: Any) -> None:
    tree = json.loads(FILE)
    if field in tree:
        if tree[field] == value:
            return
        tree[field] = value
    elif field in ("payload", "signatures"):
        tree["borrowing"][field] = value
    else:  # signed by two containers, and by the vendor, whatever it is
        outer, keys = ("borrowing", LENDER.keys[:2]) if field == "item" else ("update", [LENDER.vendor])
        payload = {**inside(tree[outer]), field: value}
        tree[outer] = json.loads(seal(tree[outer]["payloadType"], json.dumps(payload).encode(), *keys))
    with pytest.raises(BorrowError):
        verified(spelt(tree))


def test_swapped_signatures_are_refused() -> None:
    tree = json.loads(FILE)
    one, two = tree["borrowing"]["signatures"]
    one["sig"], two["sig"] = two["sig"], one["sig"]
    with pytest.raises(Tampered, match="does not hold"):
        verified(spelt(tree))


def test_one_container_twice_is_one_container() -> None:
    tree = json.loads(FILE)
    signatures = tree["borrowing"]["signatures"]
    tree["borrowing"]["signatures"] = [signatures[0], signatures[0]]
    with pytest.raises(TooFewSignatures, match="1 container has signed"):
        verified(spelt(tree))
    for count in (0, 1):
        tree["borrowing"]["signatures"] = signatures[:count]
        with pytest.raises(TooFewSignatures):
            verified(spelt(tree))


def test_a_bad_signature_beside_two_good_ones_is_refused() -> None:
    tree = json.loads(FILE)
    third = json.loads(seal(pure.BORROWING_TYPE, b"{}", LENDER.keys[2]))["signatures"][0]
    tree["borrowing"]["signatures"].append(third)
    with pytest.raises(Tampered):
        verified(spelt(tree))


def test_keys_that_the_vendor_did_not_name_do_not_count() -> None:
    thief = Ed25519PrivateKey.generate()
    tree = json.loads(FILE)
    payload = base64.b64decode(tree["borrowing"]["payload"])
    for keys in ([thief, LENDER.keys[0]], [thief, Ed25519PrivateKey.generate()]):
        tree["borrowing"] = json.loads(seal(pure.BORROWING_TYPE, payload, *keys))
        with pytest.raises(TooFewSignatures, match="of no container"):
            verified(spelt(tree))


def test_signatures_of_another_type_are_not_taken_for_it() -> None:
    tree = json.loads(FILE)
    payload = base64.b64decode(tree["borrowing"]["payload"])
    other = json.loads(seal("application/vnd.tmr.request+json", payload, *LENDER.keys[:2]))
    tree["borrowing"] = other
    with pytest.raises(Tampered):
        verified(spelt(tree))
    other["payloadType"] = pure.BORROWING_TYPE
    with pytest.raises(Tampered):
        verified(spelt(tree))


def test_another_vendors_licence_is_refused() -> None:
    stranger = Lender()
    with pytest.raises(WrongVendor):
        verified(stranger.file(ALICE))
    # containers of one's own, named by an update of one's own, under the right vendor's fingerprint
    tree = json.loads(stranger.file(ALICE))
    tree["update"]["signatures"][0]["keyid"] = json.loads(FILE)["update"]["signatures"][0]["keyid"]
    with pytest.raises(Tampered, match="vendor's signature"):
        verified(spelt(tree))
    tree = {**json.loads(FILE), "borrowing": json.loads(stranger.file(ALICE))["borrowing"]}
    with pytest.raises(TooFewSignatures):
        verified(spelt(tree))


def test_another_update_of_the_same_vendor_cannot_take_its_place() -> None:
    lender = Lender()
    old = lender.file(ALICE)
    lender.update(lender.item)
    new = lender.file(ALICE)
    assert verified(old, lender=lender).update_id == "update-1"
    assert verified(new, lender=lender).update_id == "update-2"
    mixed = {**json.loads(new), "update": json.loads(old)["update"]}
    with pytest.raises(Tampered, match="another update"):
        verified(spelt(mixed), lender=lender)


def test_another_borrower_is_refused_and_so_is_a_certificate_without_its_key() -> None:
    bob = borrower()
    with pytest.raises(OtherBorrower, match="bound to the certificate"):
        verified(to=bob)
    with pytest.raises(OtherBorrower, match="private key"):
        verified(to=Borrower(ALICE.certificate, bob.key))
    with pytest.raises(OtherBorrower, match="private key"):
        verified(to=Borrower(ALICE.certificate, borrower(Ed25519PrivateKey.generate()).key))
    assert prove(*ALICE) == ALICE.fingerprint


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"item": {"product_code": 202}}, "no such licence"),
        ({"item": {"feature_map": 2**32 - 1}}, "no such licence"),
        ({"item": {"expiration_ms": None}}, "no such licence"),
        ({"item": {"maintenance_end_ms": None}}, "no such licence"),
        ({"until_ms": FROM_MS + 8 * DAY_MS}, "such a time"),
        ({"from_ms": FROM_MS - 2 * DAY_MS, "until_ms": FROM_MS}, "such a time"),
        ({"from_ms": FROM_MS + 364 * DAY_MS, "until_ms": FROM_MS + 366 * DAY_MS}, "such a time"),
    ],
)
def test_even_two_containers_cannot_lend_more_than_the_vendor_gave(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BeyondLicence, match=reason):
        verified(resigned(**changes))


@pytest.mark.parametrize("changes", [{"act_id": "other"}, {"update_id": "update-0"}])
def test_the_borrowing_and_the_update_name_the_same_system_and_update(changes: dict[str, Any]) -> None:
    with pytest.raises(Tampered, match="one system, update and firm"):
        verified(resigned(**changes))


@pytest.mark.parametrize("count", [0, 2])
def test_the_update_has_the_one_signature_of_the_vendor(count: int) -> None:
    tree = json.loads(FILE)
    tree["update"]["signatures"] *= count
    with pytest.raises(Tampered, match="one signature"):
        verified(spelt(tree))


def test_a_licence_that_cannot_be_borrowed_is_not_lent() -> None:
    lender = Lender(item(borrow_s=None, borrow_seats=None))
    with pytest.raises(BeyondLicence):
        verified(lender.file(ALICE), lender=lender)


def test_an_option_of_a_newer_version_is_refused_rather_than_ignored() -> None:
    with pytest.raises(BadBorrowFile, match="only_on_mondays"):
        verified(resigned(item={"only_on_mondays": True}))
    with pytest.raises(BadBorrowFile, match="format"):
        verified(resigned(format=2))


def test_a_time_that_does_not_exist_is_refused() -> None:
    lender = Lender(item(expiration_ms=None, activation_ms=None))
    for time in (10**17, -(10**17)):
        with pytest.raises(BadBorrowFile, match="time that does not exist"):
            verified(resigned(lender, from_ms=time, until_ms=time), lender=lender)


def test_files_that_are_no_keys_are_named() -> None:
    for arguments in (
        {"vendor_key": ALICE.certificate},
        {"to": Borrower(b"?", ALICE.key)},
        {"to": Borrower(ALICE.certificate, b"?")},
    ):
        with pytest.raises(ConfigError):
            verified(**arguments)


# -- its time, modules, versions ---------------------------------------------------------------------------

START = datetime.fromtimestamp(FROM_MS // 1000, UTC)
END = START + timedelta(days=3)


@settings(deadline=None)
@given(st.timedeltas(timedelta(days=-30), timedelta(days=30)))
def test_it_is_valid_in_its_time_alone(offset: timedelta) -> None:
    licence, now = read(FILE, LENDER.vendor_pem), START + offset
    if now >= END:
        with pytest.raises(BorrowExpired):
            licence.check_time(now)
    elif now < START - timedelta(seconds=60):
        with pytest.raises(NotYetValid):
            licence.check_time(now)
    else:
        licence.check_time(now)


def test_verify_checks_the_time() -> None:
    verified(now=END - timedelta(milliseconds=1))
    with pytest.raises(BorrowExpired):
        verified(now=END)
    with pytest.raises(NotYetValid):
        verified(now=START - timedelta(minutes=2))


@given(st.integers(0, 2**32 - 1))
def test_modules(features: int) -> None:
    licence = read(FILE, LENDER.vendor_pem)
    if features & ~licence.feature_map:
        with pytest.raises(LacksFeature):
            licence.check(features=features)
    else:
        licence.check(features=features)


def test_the_maintenance_period_has_its_start_and_not_its_end() -> None:
    licence = read(FILE, LENDER.vendor_pem)
    start, end = licence.maintenance_start, licence.maintenance_end
    assert start is not None
    assert end is not None
    licence.check(released=start)
    licence.check(released=end - timedelta(milliseconds=1))
    for released in (start - timedelta(milliseconds=1), end):
        with pytest.raises(NotMaintained):
            licence.check(released=released)


# -- what others see ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["borrowing", "update"])
def test_openssl_agrees(tmp_path: Path, which: str) -> None:
    envelope = json.loads(FILE)[which]
    publics = (
        {container.key for container in LENDER.containers}
        if which == "borrowing"
        else {raw_public_key(LENDER.vendor)}
    )
    by_id = {key_fingerprint(public): public for public in publics}
    payload = base64.b64decode(envelope["payload"])
    for signature in envelope["signatures"]:
        (tmp_path / "key.pem").write_bytes(public_key_to_pem(by_id[signature["keyid"]]))
        (tmp_path / "message").write_bytes(pae(envelope["payloadType"], payload))
        (tmp_path / "signature").write_bytes(base64.b64decode(signature["sig"]))
        command = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in message -sigfile signature"
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully"), done.stderr


def test_openssl_sees_the_same_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_bytes(ALICE.certificate)
    recipe = (
        "openssl x509 -in c.pem -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r"
    )
    done = subprocess.run(["sh", "-c", recipe], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == ALICE.fingerprint


def test_every_option_of_the_licence_is_the_programs() -> None:
    assert verified().item == LENDER.item


def test_every_error_is_described() -> None:
    described = set(re.findall(r"[├└]── (\w+)", borrow_problems.__doc__ or ""))
    kinds = {
        name
        for name, kind in vars(borrow_problems).items()
        if isinstance(kind, type) and issubclass(kind, BorrowError)
    }
    assert described == kinds


def test_activation_keeps_the_update_for_borrowers() -> None:
    container = LENDER.containers[0]
    firm = container.firm(FIRM)
    assert firm is not None
    assert len(firm.update) > 1000
    newer = activate(
        container,
        update_file(LENDER.vendor, LENDER.containers, [item(quantity=9)], "update-2", 2),
        {FIRM: raw_public_key(LENDER.vendor)},
    )
    latest = newer.firm(FIRM)
    assert latest is not None
    assert b"update-2" in base64.b64decode(json.loads(latest.update)["payload"])
    with pytest.raises(ValueError, match="one payload"):
        seal_borrow_file(
            [
                share(LENDER.terms(ALICE), container, LENDER.keys[0]),
                share(LENDER.terms(ALICE, user="other"), LENDER.containers[1], LENDER.keys[1]),
            ]
        )
