"""Measurements that docs/benchmarks.md shows: `python -m benchmarks list` names them."""
