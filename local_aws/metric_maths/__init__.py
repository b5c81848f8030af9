"""CloudWatch's metric maths: expressions over time series, as a language without any service around it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html

# Layout

From the outside in; each module imports only from those below it.

- `expression`: an expression's text becomes a value.
- `functions`: SUM, FILL, SORT ...
- `operators`: arithmetic, comparisons and logic.
- `search`: what SEARCH looks for.
- `labels`: what a time series is called.
- `values`: scalars, time series and arrays of them.
"""
