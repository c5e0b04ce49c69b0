"""Measurements of quality and speed; each module runs as ``python -m memreel.benchmarks.<module>``."""
