"""What the sync tells about itself: metrics, `/v1/status`, readiness."""
