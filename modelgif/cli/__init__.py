"""The command ``modelgif``: one file a verb."""
