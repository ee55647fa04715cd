"""Models from addresses and files, without running code that nobody vouched for."""
