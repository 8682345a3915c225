"""Views in MySQL that join the copy of tweets with accounts: one query over data of two stores.

They run with sync-service's rights (SQL SECURITY DEFINER), so a reader needs only SELECT on the views. Deleted accounts
and imported authors have no name.
"""

from collections.abc import Mapping
from functools import partial

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import is_unavailable
from service_kit.retry import Backoff, Retrier

log = structlog.get_logger(__name__)

RETRY_SECONDS = 5.0
_NO_SUCH_TABLE = 1146

VIEWS: Mapping[str, str] = {
    "author_activity": """
        SELECT written.author_id, users.username, users.name, written.tweets,
               COALESCE(liked.likes, 0) AS likes_received, COALESCE(answered.replies, 0) AS replies_received,
               written.replies AS replies_written, written.last_tweet_at
        FROM (SELECT author_id, COUNT(*) AS tweets, COUNT(reply_to) AS replies, MAX(created_at) AS last_tweet_at
              FROM tweets WHERE repost_of IS NULL GROUP BY author_id) AS written
        LEFT JOIN (SELECT tweets.author_id, COUNT(*) AS likes
                   FROM likes JOIN tweets ON tweets.id = likes.tweet_id GROUP BY tweets.author_id) AS liked
               ON liked.author_id = written.author_id
        LEFT JOIN (SELECT parents.author_id, COUNT(*) AS replies
                   FROM tweets AS answers JOIN tweets AS parents ON parents.id = answers.reply_to
                   GROUP BY parents.author_id) AS answered
               ON answered.author_id = written.author_id
        LEFT JOIN auth.users ON users.id = written.author_id""",
    # Counted as for trends: a tag counts once per tweet, in any case. JSON_TABLE takes no column of a view.
    "hashtag_counts": """
        SELECT LOWER(tags.tag) COLLATE utf8mb4_0900_as_cs AS hashtag, COUNT(DISTINCT tweets.id) AS tweets,
               COUNT(DISTINCT tweets.author_id) AS authors, MAX(tweets.created_at) AS last_used_at
        FROM tweets_copy AS tweets,
             JSON_TABLE(tweets.entities, '$.hashtags[*]' COLUMNS (tag VARCHAR(280) PATH '$.tag')) AS tags
        WHERE tweets.sync_deleted_at IS NULL
        GROUP BY hashtag""",
    "replies": """
        SELECT answers.id, answers.text, answers.created_at, answers.author_id, writers.username AS author,
               answers.reply_to AS parent_id, parents.text AS parent_text, parents.author_id AS parent_author_id,
               asked.username AS parent_author
        FROM tweets AS answers
        LEFT JOIN tweets AS parents ON parents.id = answers.reply_to
        LEFT JOIN auth.users AS writers ON writers.id = answers.author_id
        LEFT JOIN auth.users AS asked ON asked.id = parents.author_id
        WHERE answers.reply_to IS NOT NULL""",
}


async def make_views_once_possible(engine: AsyncEngine) -> None:
    """Create the views as soon as the table of accounts exists, which auth-service creates at its first start.

    Applying events does not wait for them. Without the right to create them, the sync works all the same.
    """
    reported = False

    def report(error: Exception, _delay: float) -> None:
        nonlocal reported
        if not reported:
            log.info("the views of tweets with accounts wait for auth.users", reason=str(error))
        reported = True

    backoff = Backoff(initial=RETRY_SECONDS, maximum=RETRY_SECONDS)
    try:
        await Retrier(on=_may_pass, backoff=backoff, on_failure=report).run(partial(make_views, engine))
    except DBAPIError as error:
        log.warning("the views of tweets with accounts can't be made", reason=str(error.orig))


def _may_pass(error: Exception) -> bool:
    """The database does not answer, or auth-service has not created its table yet."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OSError)
    code = error.orig.args[0] if error.orig and error.orig.args else None
    return code == _NO_SUCH_TABLE or is_unavailable(error)


async def make_views(engine: AsyncEngine) -> None:
    """Create or replace the views. Raises SQLAlchemy's `DBAPIError`."""
    async with engine.connect() as connection:
        for name, selection in VIEWS.items():
            await connection.exec_driver_sql(f"CREATE OR REPLACE SQL SECURITY DEFINER VIEW {name} AS {selection}")
