"""Tests of what the benchmarks rest on: the load, the programs beside the relay, the simulation."""
