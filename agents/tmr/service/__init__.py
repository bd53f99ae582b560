# SPDX-License-Identifier: Apache-2.0
"""Use cases of clients and operators on a licence server, whatever decides and stores behind it."""
