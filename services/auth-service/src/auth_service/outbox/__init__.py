"""The outbox: mails are stored in the transaction that causes them, and sent by a worker in each replica."""
