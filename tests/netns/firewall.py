# SPDX-License-Identifier: Apache-2.0
"""Rules of a firewall for the tests of its scripts; PORT stands for the port that is open."""

RULES = """
table inet tmr
delete table inet tmr
table inet tmr {
  chain input {
    type filter hook input priority filter; policy drop;
    tcp dport PORT accept
  }
}
"""
