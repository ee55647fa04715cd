"""Labelled images: data sets that come along, and folders of one's own."""
