"""Runs Tandem as local processes, with real MySQL, MongoDB, Apache Kafka, Kafka Connect and Debezium.

from embedded_stack import Stack, StackConfiguration

stack = Stack(StackConfiguration(state_dir=Path("/tmp/mine"), port_offset=1000))
stack.start()                # or stack.start("mysql"), with what it depends on
stack.addresses["AUTH_URL"]
stack.kill("sync"); stack.start("sync")
stack.pause("connect"); stack.resume("connect")
stack.stop()
"""

from embedded_stack.configuration import StackConfiguration
from embedded_stack.errors import StackError
from embedded_stack.stack import Stack
from embedded_stack.temporary import temporary_stack

__all__ = ["Stack", "StackConfiguration", "StackError", "temporary_stack"]
