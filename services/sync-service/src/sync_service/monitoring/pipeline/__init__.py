"""`/v1/pipeline`: the state of stores, connectors, topics and routes."""
