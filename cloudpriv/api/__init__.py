"""The HTTP API: one module per resource, schemas in, one service call, schemas out."""
