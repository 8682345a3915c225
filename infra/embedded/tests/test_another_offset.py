"""A state folder that is used with a new port offset."""

from pathlib import Path
from typing import Any

import pymongo
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from embedded_stack import StackError
from embedded_stack.configuration import reserved_port_offset
from support.stacks import stack_at

pytestmark = [pytest.mark.integration, pytest.mark.long]

PARTITION = TopicPartition("sync.dead-letters", 0)


async def test_data_can_be_read_and_written_with_another_port_offset(tmp_path: Path) -> None:
    for texts in (["one"], ["one", "two"]):
        with reserved_port_offset() as offset:
            used = stack_at(tmp_path, offset)
            try:
                used.start("mongo", "kafka")
                with pymongo.MongoClient[dict[str, Any]](used.addresses["MONGODB_URL"]) as client:
                    client["tweets"]["texts"].insert_one({"text": texts[-1]})
                    assert [each["text"] for each in client["tweets"]["texts"].find()] == texts
                bootstrap = used.addresses["KAFKA_BOOTSTRAP_SERVERS"]
                async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
                    await producer.send_and_wait(*PARTITION[:1], texts[-1].encode(), partition=0)
                async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
                    consumer.assign([PARTITION])
                    assert [(await consumer.getone()).value.decode() for _ in texts] == texts
                if texts == ["one"]:
                    with (
                        reserved_port_offset() as other,
                        pytest.raises(StackError, match=f"OFFSET={offset}, and {other}"),
                    ):
                        stack_at(tmp_path, other).start("mail")
            finally:
                used.stop()
