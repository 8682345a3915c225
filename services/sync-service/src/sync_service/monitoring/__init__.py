"""Status of the sync: `/v1/status`, `/v1/pipeline`, `/v1/counts`, probes of the parts, and the watchdog."""
