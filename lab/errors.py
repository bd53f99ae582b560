# SPDX-License-Identifier: Apache-2.0
"""Errors of the lab, in words for people."""


class LabError(Exception):
    """A mistake the user can mend: the message names the mistake, the place and the remedy."""

    exit_code = 2


class BootError(LabError):
    """A machine was told to boot and did not come up."""

    exit_code = 1
