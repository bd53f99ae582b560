# SPDX-License-Identifier: Apache-2.0
"""The wire contract of the client API: requests, answers, problems. It imports nothing of ours."""
