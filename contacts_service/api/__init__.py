"""HTTP: a blueprint a noun, and what they share (envelope, errors, parsing, OpenAPI)."""
