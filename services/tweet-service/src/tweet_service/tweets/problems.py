"""Problems of tweets."""

from collections.abc import Iterable

from service_kit.problems import FieldError, Forbidden, NotFound, Problem, ValidationFailed


class TweetNotFound(NotFound):
    code, title = "tweet-not-found", "Tweet not found."


class NotTheAuthor(Forbidden):
    code, title = "not-the-author", "Only the author may change this tweet."


class StaleVersion(Problem):
    """RFC 9110 §15.5.13"""

    status, code, title = 412, "stale-version", "The tweet was edited in the meantime. Read it again."


class VersionRequired(Problem):
    """RFC 6585 §3"""

    status, code, title = 428, "version-required", "Send the ETag of the tweet in If-Match."


class ReferencedTweetNotFound(ValidationFailed):
    code, title = "referenced-tweet-not-found", "The referenced tweet does not exist."

    def __init__(self, fields: Iterable[str]) -> None:
        super().__init__(
            errors=[FieldError(pointer=f"#/{field}", code=self.code, detail=TweetNotFound.title) for field in fields]
        )


class IdempotencyKeyReused(Problem):
    status, code, title = 409, "idempotency-key-reused", "This Idempotency-Key was used for another request."
