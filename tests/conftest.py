# SPDX-License-Identifier: Apache-2.0
"""Settings of hypothesis: new examples each time, but the same ones in CI: a find would block others."""

import os

from hypothesis import settings

# A busy machine is no failure of the code.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
