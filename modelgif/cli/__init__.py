"""The command ``modelgif``: one file per verb."""
