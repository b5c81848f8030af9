"""Locustfiles to start from, and a demo of the whole way from Locust to CloudWatch on one machine."""
