"""For `locust -f locustfile.py,<this file>`: attaches the hook where no locustfile can be changed."""

import locust_hook  # noqa: F401
