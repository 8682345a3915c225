"""Problems of requests for a snapshot."""

from service_kit.problems import NotFound, Problem


class TopicNotCaptured(NotFound):
    code, title = "topic-not-captured", "No connector captures the topic."


class SnapshotNotFound(NotFound):
    code, title = "snapshot-not-found", "Snapshot not found."


class RowsNotRequestable(Problem):
    status, code, title = 409, "rows-not-requestable", "The connector can't be asked for rows."
