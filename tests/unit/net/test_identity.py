# SPDX-License-Identifier: Apache-2.0
"""The identity of a certificate's holder."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.net.identity import ROLES, BadIdentity, Identity, of_certificate, parse_spiffe


@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_role_is_read(role: Any) -> None:
    certificate = {
        "subjectAltName": (("DNS", "x"), ("URI", f"spiffe://lab/{role}/n-1.a_b"), ("IP Address", "::1"))
    }
    assert of_certificate(certificate, "lab") == Identity(role, "n-1.a_b")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://lab",
        "spiffe://lab/twin",
        "spiffe://lab/twin/",
        "spiffe://lab/twin/a/b",
        "spiffe://lab/twin/a?b",
        "spiffe://lab/twin/a#b",
        "spiffe://lab/twin/a b",
        "spiffe://lab/twin/a\nb",
        "spiffe://lab/Twin/a",
        "spiffe://LAB/twin/a",
        "spiffe://lab:1/twin/a",
        "spiffe://u@lab/twin/a",
        "SPIFFE://lab/twin/a",
        "spiffe://lab//a",
        "spiffe:///twin/a",
        "spiffe://lab/twin/" + "a" * 256,
    ],
)
def test_whatever_else_is_refused(uri: str) -> None:
    with pytest.raises(BadIdentity):
        parse_spiffe(uri, "lab")


@given(st.text())
def test_no_text_is_an_identity_by_accident(text: str) -> None:
    with pytest.raises(BadIdentity):
        parse_spiffe(text, "lab")


@pytest.mark.parametrize("certificate", [None, {}, {"subjectAltName": (("DNS", "spiffe://lab/twin/a"),)}])
def test_no_uri_is_no_identity(certificate: Any) -> None:
    with pytest.raises(BadIdentity, match="0 URI names"):
        of_certificate(certificate, "lab")
