# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes for every reader of what comes from outside, guided by coverage (atheris, libFuzzer).

A target is a module in `targets` with `SEEDS`, valid documents to begin with, and `check(data)`, which lets
the documented exceptions pass and no others, and asserts what must hold for whatever was read. Where a
signature stands before a reader, the target signs: the code behind it is reached.

    python -m tests.fuzz --seconds 600             all targets, in turn
    python -m tests.fuzz --seconds 600 updates     one
    python -m tests.fuzz --replay FILE updates     once more what a run has found
"""
