"""Applies change events: decodes and maps records, orders and batches changes, retries failed writes."""
