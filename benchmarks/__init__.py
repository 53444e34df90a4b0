"""Measures the service against bare routes with raw SQL, on small and large databases; see docs/benchmarks.md."""
