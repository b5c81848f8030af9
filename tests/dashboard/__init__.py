"""The dashboard as a page: its source, its questions to AWS, and what a browser makes of the answers."""
