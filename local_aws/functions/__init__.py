"""Lambda: `function` queues and retries, `environment` runs a process, `invocation` is the data."""
