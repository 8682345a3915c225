"""What can go wrong with tweets."""

from collections.abc import Iterable

from service_kit.problems import FieldError, Forbidden, NotFound, Problem, ValidationFailed


class TweetNotFound(NotFound):
    code, title = "tweet-not-found", "There is no such tweet."


class NotTheAuthor(Forbidden):
    code, title = "not-the-author", "Only the author may do this."


class StaleVersion(Problem):
    """RFC 9110 §15.5.13"""

    status, code, title = 412, "stale-version", "The tweet was edited meanwhile. Read it again."


class VersionRequired(Problem):
    """RFC 6585 §3"""

    status, code, title = 428, "version-required", "Say which version you edit: send its ETag in If-Match."


class ReferencedTweetNotFound(ValidationFailed):
    code, title = "referenced-tweet-not-found", "The tweet that this one refers to does not exist."

    def __init__(self, fields: Iterable[str]) -> None:
        super().__init__(
            errors=[FieldError(pointer=f"#/{field}", code=self.code, detail=TweetNotFound.title) for field in fields]
        )
