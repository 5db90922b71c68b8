"""Rivals of VizECGNet, one architecture a file, each as its source describes it.

They take no options: their sizes are the published ones, so that a comparison is one
with the literature. What differs from a source, because our data differ, its file says.
"""
