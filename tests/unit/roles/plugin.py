# SPDX-License-Identifier: Apache-2.0
"""Loads a Python file of a role as Ansible does: by its path."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[3]
ROLES = ROOT / "roles"


def load(relative: str) -> ModuleType:
    """The module in roles/`relative`."""
    path = ROLES / relative
    name = f"role_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
