"""Kafka: clients, the member of the consumer group with its partitions and offsets, and readers outside the group."""
