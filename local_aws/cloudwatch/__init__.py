"""CloudWatch metrics: `limits`, `store` and `query` are pure; `service` speaks the protocols."""
