"""The encoders compared: our own, and Taskonomy's."""
