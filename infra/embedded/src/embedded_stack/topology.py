"""How many servers each part of a stack has."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topology:
    """Members of MongoDB's replica set, Kafka brokers, Connect workers, and MySQL servers.

    Two MySQL servers are a primary and its replica with an address that is moved (`components/mysql_pair.py`).
    `clock_offsets` has the seconds that are added to the clock of a member of MongoDB's replica set, by its number.
    """

    mysql: int = 1
    mongo: int = 1
    kafka: int = 1
    connect: int = 1
    clock_offsets: tuple[tuple[int, int], ...] = ()

    @property
    def min_insync_replicas(self) -> int:
        """A record is acknowledged when so many brokers have it: one broker may be lost."""
        return max(1, self.kafka - 1)


SINGLE = Topology()
