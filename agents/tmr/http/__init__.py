"""HTTP of the client API: stack, routes, OpenAPI document, load shedding, metrics, status page."""
