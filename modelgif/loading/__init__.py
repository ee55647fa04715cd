"""Models from addresses and files, without running code that the caller does not trust."""
