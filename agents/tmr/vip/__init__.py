# SPDX-License-Identifier: Apache-2.0
"""The VIP manager: holds the virtual address for as long as tmr-server's lease lives, and never longer.

What decides (`decide`, `frames`, `protocol`, `config`) does no I/O and gets the time passed in; what does I/O
(`addresses`, `segment`, `link`, `lease_release`, `notify`) decides nothing; `manager` connects the two.
"""
