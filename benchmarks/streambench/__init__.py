"""Behind `memreel.benchmarks.stream`: models of random weights, the measurement, its arithmetic, matrix and table."""
