# SPDX-License-Identifier: Apache-2.0
"""Seconds that a client waits for an answer, and in which servers answer. The second are fewer.

A server that cannot do better in its time says why. If the client had gone by then, it would end with another
reason: that no server has answered.
"""

from typing import Final

ANSWER_WAIT: Final = 2.5
"""Seconds that a client waits for one answer, unless its policy says otherwise."""
ANSWER_WITHIN: Final = 2.0
"""Seconds in which a server answers: those of a turn, of a commit, of a read, of signatures, each."""
EXPORT_WAIT: Final = 30.0
"""Seconds that a client waits for the next part of an export of the record."""
EXPORT_WITHIN: Final = 3.0
"""Seconds in which two upstreams have what they are to vouch for, or the export is refused."""
