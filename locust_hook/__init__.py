"""Ships every request of a Locust run to Amazon S3 or a folder; from S3 the relay publishes it to CloudWatch.

`import locust_hook` in a locustfile is all it takes; `python -m locust_hook run …` needs not even that.

# Layout

- `columns`: what one process saw since the last flush; the request listener
- `encode`: columns → the bytes of a batch
- `spool`: sealed batches that wait on disk
- `destination`: S3 or a folder
- `uploader`: brings batches from the spool to the destination
- `recorder`: one process's part of one run: flushes at intervals and at the end
- `settings`: options and environment variables
- `attach`: Locust's events
- `plugin`: attaches as a second locustfile
- `console`: links

And the commands, which run without Locust:

- `archive`, `archive_reader`: finding archived batches, and reading one
- `runs`: lists them
- `replay`, `replay_plan`, `replay_target`: publishes them again, at another time
- `compare`: puts two runs side by side
- `redrive`, `failed`, `redeliver`: delivers again what could not be published
- `progress`: how far a command is
"""

import sys

__version__ = "0.1.0"

if "locust" in sys.modules:  # a locustfile is being loaded; the commands that need no Locust do without it
    from .attach import attach

    attach()
