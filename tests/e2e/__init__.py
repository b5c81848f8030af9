"""End to end: the real Locust, the hook, the compiled relay, local AWS."""
