"""Reads a Locust's statistics from outside, through its web interface, and writes them as batches.

For where nothing can be attached to Locust: `python -m locust_hook sidecar`, a process of its own that needs
no Locust. It cannot see single requests; batches hold what was added to Locust's totals.

# Layout, in the order of the data

- `settings`: options and environment variables
- `client`: HTTP: TLS, login, bounds
- `answers`: what Locust answers → plain data
- `interface`: the questions that are asked
- `judge`: what a look means: when tests start, when statistics start anew
- `watch`: looks → records and headers
- `totals`: totals → differences
- `state`: what is remembered from one look to the next
- `checkpoint`: the state on disk, in one step with the batch that it is the state after
- `sender`: brings batches to the destination, in a thread
- `sidecar`: the loop
- `command`: the command line
"""
