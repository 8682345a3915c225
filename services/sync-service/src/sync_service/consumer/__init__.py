"""A member of the consumer group: takes records from Kafka, has them applied, and only then commits their offsets."""
