# SPDX-License-Identifier: Apache-2.0
"""HTTP of the client API: stack, routes, OpenAPI document, load shedding, metrics, status page."""
