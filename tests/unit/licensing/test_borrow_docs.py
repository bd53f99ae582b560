# SPDX-License-Identifier: Apache-2.0
"""The page about borrow files names what the code does, and its recipe verifies a real file."""

import inspect
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.lending import FIRM, Lender, borrower
from tmr.client import borrow_problems
from tmr.client.borrow_problems import BorrowError
from tmr.licensing import borrow_file, errors
from tmr.upstream import borrowings

PAGE = (Path(__file__).parents[3] / "docs/reference/borrow-files.md").read_text()


def test_every_field_and_limit_is_documented() -> None:
    for field in borrow_file.BorrowPayload.__struct_fields__:
        assert f"`{field}`" in PAGE, field
    assert f"at most {borrow_file.FILE_MAX} bytes" in PAGE
    for name in (borrow_file.MEDIA_TYPE, borrow_file.BORROWING_TYPE):
        assert name in PAGE


def test_every_error_of_the_client_is_documented() -> None:
    kinds = [k for k in vars(borrow_problems).values() if isinstance(k, type) and issubclass(k, BorrowError)]
    assert len(kinds) > 10
    assert [
        kind.__name__ for kind in kinds if kind is not BorrowError and f"`{kind.__name__}`" not in PAGE
    ] == []


@pytest.mark.parametrize("kind", ["NotSigned", "BadBorrowSignature"])
def test_every_code_is_documented(kind: str) -> None:
    raised = set(re.findall(rf"{kind}\(\s*\"([a-z-]+)\"", inspect.getsource(borrow_file)))
    assert raised
    assert set(re.findall(r"`([a-z-]+)`", getattr(errors, kind).__doc__)) == raised
    assert [code for code in raised if f"`{code}`" not in PAGE] == []


def test_every_refusal_of_an_upstream_is_documented() -> None:
    codes = set(re.findall(r"refused\(\s*\"([a-z-]+)\"", inspect.getsource(borrowings)))
    codes |= set(borrowings.OBSTACLES)
    assert len(codes) == 6
    assert [code for code in codes if f"| `{code}` |" not in PAGE] == []


def test_the_shell_recipe_verifies_a_file_and_not_a_changed_one(tmp_path: Path) -> None:
    recipe = re.search(r"## Verify without tmr\n\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert recipe is not None
    lender = Lender()
    file = lender.file(borrower())
    (tmp_path / f"{FIRM}.pem").write_bytes(lender.vendor_pem)

    def run(data: bytes) -> tuple[int, int]:
        (tmp_path / "licence.borrow").write_bytes(data)
        done = subprocess.run(
            ["sh", "-ec", recipe[1]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.count("Signature Verified Successfully")

    assert run(file) == (0, 3)
    at = file.index(b'"payload":"') + 100
    status, good = run(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :])
    assert status != 0
    assert good < 3
