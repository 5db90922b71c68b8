"""Recordings as files: twelve leads in microvolts, or the reason why a record cannot be believed."""
