"""Change events for users and programs: `/v1/events` (Server-Sent Events) and `sync-service inspect`."""
