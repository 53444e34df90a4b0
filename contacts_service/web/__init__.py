"""HTTP plumbing that names no resource: blueprint, parsing, envelope, errors, keys, retries, entity tags, OpenAPI."""
