"""When the work is done, and with what retries; what is done is in `vizecg`."""
