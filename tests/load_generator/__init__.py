"""Tests of the load generator's stack, and of what its machines run."""
