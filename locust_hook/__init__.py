"""Ships every request of a Locust run to Amazon S3 or a folder; from S3 the relay publishes it to CloudWatch.

`import locust_hook` in a locustfile is all it takes; `python -m locust_hook run …` needs not even that.

# Layout

- `recording`: what happens in a Locust process
- `commands`: what is done with batches afterwards, without Locust
- `destination`: where batches are put: S3 or a folder
- `plugin`: attaches as a second locustfile
- `console`: links into the CloudWatch console
"""

import sys

__version__ = "0.1.0"

if "locust" in sys.modules:  # a locustfile is being loaded; the commands that need no Locust do without it
    from .recording.attach import attach

    attach()
