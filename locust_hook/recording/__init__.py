"""What happens in a Locust process: every request is appended to columns, and each interval becomes a batch.

- `attach`: Locust's events
- `settings`: options and environment variables
- `recorder`: one process's part of one run: flushes at intervals and at the end
- `columns`: what one process saw since the last flush; the listener, in C (`_fast`) if compiled
- `encode`: columns → the bytes of a batch
- `spool`: sealed batches that wait on disk
- `outbox`: which batch is next on its way to the destination, and what became of them
- `uploader`: runs it, as a greenlet
"""
