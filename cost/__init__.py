"""What a load test costs, told before it is run: `make cost`, `python -m cost --help`.

# Layout

In the order of the data; each module imports only from those above it.

- `prices`: list prices, each with its source.
- `stack`: what the template deploys: the relay's settings, dashboards, alarms.
- `load`: the batches of a load test, and how often each of them comes.
- `generated`, `archived`: a load made of a few numbers; a load that was recorded.
- `preview`: the relay's own plan of batches: calls, metrics, bytes.
- `counts`: everything that a load makes AWS count.
- `bill`: counts times prices.
- `variants`: other settings, and what they would change.
- `report`: all of it as text or JSON.

    make cost RUN=s3://bucket/batches/checkout/20261121T102900Z-4f3a
    make cost REQUESTS=4000 ENDPOINTS=20 WORKERS=10 HOURS=2
"""
