# SPDX-License-Identifier: Apache-2.0
"""The signatures against what others published: RFC 8032, the DSSE specification, and OpenSSL."""

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    BadKey,
    private_key_from_pem,
    private_key_to_pem,
    public_key_from_pem,
    public_key_to_pem,
    raw_public_key,
)
from tmr.licensing.dsse import read_envelope
from tmr.licensing.signing import pae, sign_bytes, signature_holds

from .system import VENDOR, containers, issue_to

RFC_8032 = [
    # section 7.1, tests 1 to 3: secret key, public key, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_ed25519_is_that_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert raw_public_key(key).hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature


def test_pae_and_signature_of_the_dsse_specification() -> None:
    # protocol.md, "Test Vectors": ECDSA P-256 over the encoding, signature as r and s
    encoded = pae("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    public = ec.EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        ec.SECP256R1(),
    ).public_key()
    raw = base64.b64decode(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    )
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public.verify(signature, encoded, ec.ECDSA(hashes.SHA256()))


def test_pae_counts_bytes() -> None:
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(st.text(), st.binary(), st.text(), st.binary())
def test_pae_is_injective(type_a: str, body_a: bytes, type_b: str, body_b: bytes) -> None:
    type_a, type_b = (t.encode("utf-8", "replace").decode() for t in (type_a, type_b))
    assert (pae(type_a, body_a) == pae(type_b, body_b)) == ((type_a, body_a) == (type_b, body_b))


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_bytes_make_verifying_raise(signature: bytes, key: bytes) -> None:
    assert not signature_holds("t", b"p", signature, key)


def test_the_type_is_signed_too() -> None:
    signature = sign_bytes("a", b"payload", VENDOR)
    assert signature_holds("a", b"payload", signature, raw_public_key(VENDOR))
    assert not signature_holds("b", b"payload", signature, raw_public_key(VENDOR))


def test_openssl_verifies_an_update_file(tmp_path: Path) -> None:
    """Independent of our code but for taking the envelope apart: OpenSSL, and the encoding spelt by hand."""
    file = issue_to(containers(), []).file
    envelope = read_envelope(file)
    kind = b"application/vnd.tmr.update+json"
    message = b" ".join(
        [b"DSSEv1", str(len(kind)).encode(), kind, str(len(envelope.payload)).encode(), envelope.payload]
    )
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(envelope.signatures[0].signature)
    (tmp_path / "key.pem").write_bytes(public_key_to_pem(raw_public_key(VENDOR)))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin"]
    command += ["-in", "message", "-sigfile", "signature"]
    good = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.strip()) == (0, "Signature Verified Successfully"), good.stderr
    (tmp_path / "message").write_bytes(message[:-1] + b"]")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_openssl_reads_the_private_key(tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.touch(0o600)
    pem.write_bytes(private_key_to_pem(VENDOR))
    public = subprocess.run(
        ["openssl", "pkey", "-in", pem, "-pubout"], capture_output=True, check=True
    ).stdout
    assert public == public_key_to_pem(raw_public_key(VENDOR))


def test_pem_round_trip() -> None:
    public = raw_public_key(VENDOR)
    assert public_key_from_pem(public_key_to_pem(public)) == public
    assert raw_public_key(private_key_from_pem(private_key_to_pem(VENDOR))) == public


def armoured(data: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(data) + b"\n-----END PUBLIC KEY-----\n"


@given(st.binary() | st.binary().map(armoured))
def test_what_is_no_key(pem: bytes) -> None:
    with pytest.raises(BadKey):
        public_key_from_pem(pem)
    with pytest.raises(BadKey):
        private_key_from_pem(pem)


def test_keys_of_another_kind() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(BadKey):
        public_key_from_pem(public)
    with pytest.raises(BadKey):
        private_key_from_pem(private)
