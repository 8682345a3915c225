"""Kafka: clients, the member of the consumer group, its partitions and offsets, and readers outside the group."""
