"""What AWS allows an account by default, and what the older tools ask of it. Prices: `cost.prices`."""

from __future__ import annotations

PUT_METRIC_DATA_PER_SECOND = 500
"""Of an account in a region; can be raised.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html"""
PUT_LOG_EVENTS_PER_SECOND = 5_000
"""Of an account in a region; can be raised.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html"""
CREATE_LOG_STREAM_PER_SECOND = 50
"""The same."""
S3_WRITES_PER_SECOND = 3_500
"""Of one prefix; S3 splits prefixes by itself when the load lasts.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"""
LAMBDA_CONCURRENCY = 1_000
"""Of an account in a region; can be raised.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

LOCUST_CLOUDWATCH_CALLS = 400_000
"""Calls per million requests of concurrencylabs/locust-cloudwatch: one PutMetricData and one PutLogEvents for
each 5 requests (`batch_size` in its locust_cw.py)."""
LOCUST_PLUGINS_CALLS = 200_000
"""Calls per million requests of locust-plugins' CloudWatch listener: 3 metrics a request, 10 requests at a
time, in calls of 15 metrics (`REQUESTS_BATCH_SIZE`, `CLOUDWATCH_METRICS_BATCH_SIZE`)."""
