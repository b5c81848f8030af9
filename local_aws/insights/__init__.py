"""CloudWatch Logs Insights' query language, without any service around it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html

# Layout

From the outside in; each module imports only from those below it.

- `engine`: runs a query over log events.
- `compiler`: expressions become functions of a row.
- `aggregates`, `functions`: what stats, and what every expression, can call.
- `language`, `syntax`: a query's text becomes commands; what these are.
- `values`: what fields hold, how they compare, and how they are shown.
"""
