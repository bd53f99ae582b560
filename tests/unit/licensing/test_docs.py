"""The reference page names what the code does."""

import re
import subprocess
from pathlib import Path

import pytest

from tmr.licensing import errors, public_key_to_pem, raw_public_key
from tmr.licensing.items import ITEMS_MAX, NAME_MAX, QUANTITY_MAX

from .system import FIRM, VENDOR, containers, issue_to

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/licence-files.md").read_text()
RAISED = re.compile(r"\b(Refused|NotIssued|BadRequest)\(\s*\"([a-z-]+)\"")


@pytest.mark.parametrize("kind", ["Refused", "NotIssued", "BadRequest"])
def test_every_code_is_documented(kind: str) -> None:
    sources = [path.read_text() for path in (ROOT / "agents/tmr/licensing").glob("*.py")]
    raised = {code for source in sources for name, code in RAISED.findall(source) if name == kind}
    assert raised
    docstring = getattr(errors, kind).__doc__
    assert set(re.findall(r"`([a-z-]+)`", docstring)) == raised
    assert [code for code in sorted(raised) if f"`{code}`" not in PAGE] == []


def test_limits_are_documented() -> None:
    assert f"{ITEMS_MAX} in one container" in PAGE
    assert f"{NAME_MAX} characters" in PAGE
    assert f"1 to {QUANTITY_MAX}" in PAGE


def test_the_shell_recipe_verifies(tmp_path: Path) -> None:
    recipe = re.search(r"## Verify without tmr\n\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert recipe is not None
    (tmp_path / "editor.json").write_bytes(issue_to(containers(), []).file)
    (tmp_path / f"{FIRM}.pem").write_bytes(public_key_to_pem(raw_public_key(VENDOR)))
    done = subprocess.run(["sh", "-ec", recipe[1]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully"), done.stderr
