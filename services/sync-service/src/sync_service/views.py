"""Views in MySQL of tweets together with accounts: what two stores hold apart, asked in one query.

They run with sync-service's rights (SQL SECURITY DEFINER), so a reader needs SELECT on them alone. Accounts that are
deleted, and authors that were imported, have no name.
"""

import asyncio
from collections.abc import Mapping

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.mysql import is_unavailable

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
    # As trends count: a tag once a tweet, however it is capitalised. JSON_TABLE takes no column of a view.
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
    """Wait for the table of the accounts, which auth-service makes whenever it starts, and make the views.

    Nothing is applied any later for them, and without the right to make them everything else goes on.
    """
    waiting = False
    while True:
        try:
            await make_views(engine)
        except (DBAPIError, OSError) as error:
            code = error.orig.args[0] if isinstance(error, DBAPIError) and error.orig and error.orig.args else None
            if isinstance(error, DBAPIError) and code != _NO_SUCH_TABLE and not is_unavailable(error):
                log.warning("the views of tweets with accounts can't be made", reason=str(error.orig))
                return
            if not waiting:
                log.info("the views of tweets with accounts wait for auth.users", reason=str(error))
            waiting = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def make_views(engine: AsyncEngine) -> None:
    """Make them, or make them anew. Raises SQLAlchemy's `DBAPIError`."""
    async with engine.connect() as connection:
        for name, selection in VIEWS.items():
            await connection.exec_driver_sql(f"CREATE OR REPLACE SQL SECURITY DEFINER VIEW {name} AS {selection}")
