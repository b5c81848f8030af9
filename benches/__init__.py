"""Benchmarks: `make bench`; `docs/performance.md` says what they measure and what was found.

# Layout

Each module imports only from those above it.

- `summary`: where all numbers go, and how they are shown.
- `workload`, `batches`: the load, and the same as batches of the hook.
- `programs`: what is compiled for the benchmarks: the relay, its `core` alone, an `empty-function`.
- `reference_handler`, `reference_load`: the relay's work as a handler in Python, and its measurement.
- `runtime_api`, `instant_aws`: what a function's process talks to.
- `relay_core`, `relay_process`, `relay`: what the relay takes.
- `quotas`, `simulation`, `scale`: many workers, in simulated time.
- `hook`, `hook_load`: what the hook takes.
"""
