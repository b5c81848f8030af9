"""A CloudWatch dashboard as one HTML file: the picture that CloudWatch shows, without its console.

It asks nothing but CloudWatch's own interface (GetDashboard, GetMetricData, StartQuery), so local AWS and a
real account look the same.

    python -m local_aws.dashboard --name Locust --out dashboard.html

# Layout

From the outside in; each module imports only from those below it.

- `__main__`: the command.
- `live`: the page while a test runs, served on loopback.
- `page`: a snapshot as a self-contained page: `page.html` and `page.css`; `draw.js`, `charts.js`,
  `widgets.js` and `frame.js`, each using those before it.
- `snapshot`: what all widgets show, for each selection of the dashboard's variables.
- `variables`: the values that can be selected, and what a selection changes.
- `metrics`, `logs`, `text`: what one widget shows.
- `body`: the dashboard's source, checked.
- `clients`: who asks AWS, in which region.
"""
