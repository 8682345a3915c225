"""What a changed routes file would do, before it does it: `sync-service routes plan`."""
