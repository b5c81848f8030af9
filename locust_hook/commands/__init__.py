"""What is done with batches afterwards, without Locust.

- `archive`, `archive_reader`: finding archived batches, and reading one
- `runs`: lists them
- `replay`, `replay_plan`, `replay_target`: publishes them again, at another time
- `compare`: puts two runs side by side
- `redrive`, `failed`, `redeliver`: delivers again what could not be published
- `progress`: how far a command is
"""
