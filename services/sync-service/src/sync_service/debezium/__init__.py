"""Change events as Debezium writes them (JSON without schemas). Pure: bytes in, values out."""
