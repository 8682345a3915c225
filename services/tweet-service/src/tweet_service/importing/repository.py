"""Storage of an import: one transaction for each batch, which includes the progress of the import.

So each batch is stored exactly once, and the counts are exact.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pymongo
from pymongo import IndexModel, MongoClient
from pymongo.errors import ConnectionFailure, ExecutionTimeout, OperationFailure, PyMongoError, WTimeoutError

from tweet_service.database import INDEX_BUILD_SECONDS, SERVER_SELECTION_MS
from tweet_service.importing.mapping import author_id, object_id
from tweet_service.importing.models import ImportDocument, Tally
from tweet_service.importing.planning import (
    KNOWN_FIELDS,
    Document,
    Item,
    Known,
    is_moved,
    plan,
    references,
    referred_to,
)
from tweet_service.profiles.repository import IMPORTED_COLLECTION as PROFILES_COLLECTION
from tweet_service.times import now_in_milliseconds
from tweet_service.tweets.repository import COLLECTION as TWEETS_COLLECTION
from tweet_service.tweets.repository import COUNTS_COLLECTION

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession

COLLECTION = "imports"
# Every batch writes this document, so that concurrent imports write one after the other: a snapshot does not contain
# what another transaction is about to insert, so both would count wrong.
_TURN = "turn"
# Longer than a batch takes. For a server that stops responding without closing the connection.
_SOCKET_MS = 30_000
_INTERRUPTED = 11601
_CONFLICT = "TransientTransactionError"
# Errors of the driver while MongoDB is down, electing a primary, or too slow.
_UNAVAILABLE = (ConnectionFailure, ExecutionTimeout, WTimeoutError)


class OvertakenError(Exception):
    """Another process has started to import the same file."""


def connect(url: str) -> MongoClient[Document]:
    return MongoClient(
        url,
        appname="tweet-service import",
        tz_aware=True,
        w="majority",
        serverSelectionTimeoutMS=SERVER_SELECTION_MS,
        connectTimeoutMS=SERVER_SELECTION_MS,
        socketTimeoutMS=_SOCKET_MS,
    )


def is_conflict(error: Exception) -> bool:
    """Whether another process is in the way: its transaction conflicts, or it takes over and interrupts this one."""
    if isinstance(error, OperationFailure) and error.code == _INTERRUPTED:
        return True
    return isinstance(error, PyMongoError) and not isinstance(error, _UNAVAILABLE) and error.has_error_label(_CONFLICT)


def is_temporary(error: Exception) -> bool:
    """Whether a retry may succeed, or says why not."""
    labels = (_CONFLICT, "UnknownTransactionCommitResult", "RetryableWriteError")
    return (
        isinstance(error, _UNAVAILABLE)
        or is_conflict(error)
        or (isinstance(error, PyMongoError) and any(error.has_error_label(label) for label in labels))
    )


class ImportRepository:
    def __init__(self, client: MongoClient[Document], digest: str, file: str) -> None:
        self._client = client
        self._database = client.get_default_database()
        self._tweets = self._database[TWEETS_COLLECTION]
        self._imports = self._database[COLLECTION]
        self._digest = digest
        self._file = file
        self._run = secrets.token_hex(8)
        self._session: ClientSession | None = None

    def prepare(self, indexes: Mapping[str, Sequence[IndexModel]]) -> None:
        """Create the indexes, without which each batch would scan whole collections. Idempotent."""
        self._database.command("ping")
        with pymongo.timeout(INDEX_BUILD_SECONDS):
            for collection, wanted in indexes.items():
                self._database[collection].create_indexes(list(wanted))

    def begin(self) -> ImportDocument:
        """Continue an interrupted import; start from the beginning if there is none, or it was finished."""
        self._session = self._client.start_session()
        mine = {"run": self._run, "session": self._session.session_id["id"], "file": self._file}
        former = self._imports.find_one_and_update({"_id": self._digest, "finished_at": None}, {"$set": mine})
        if former is not None:
            # A process that was killed may have left a transaction, which would block until it expires.
            self._database.command("killSessions", [{"id": former["session"]}])
            return cast("ImportDocument", former | mine)
        begun = ImportDocument(
            _id=self._digest,
            file=self._file,
            run=self._run,
            session=mine["session"],
            done=0,
            tally=Tally().as_document(),
            rejects_bytes=0,
            started_at=datetime.now(UTC),
            finished_at=None,
        )
        self._imports.replace_one({"_id": self._digest}, dict(begun), upsert=True)
        return begun

    def finish(self) -> None:
        self._imports.update_one({"_id": self._digest, "run": self._run}, {"$set": {"finished_at": datetime.now(UTC)}})

    def store(self, items: Sequence[Item], *, after: int, done: int, rejected: int, rejects_bytes: int) -> Tally:
        """Store the records after number `after` up to number `done`. Returns the tally of all records so far.

        It may be called again after any error: a batch that was committed is not stored twice. Raises `OvertakenError`,
        `PyMongoError`.
        """

        def work(session: "ClientSession") -> Tally:
            self._imports.update_one({"_id": _TURN}, {"$inc": {"batches": 1}}, upsert=True, session=session)
            state = self._imports.find_one({"_id": self._digest}, session=session)
            if state is None or state["run"] != self._run:
                raise OvertakenError
            before = Tally(**state["tally"])
            if state["done"] == done != after:
                return before
            tally = before + Tally(rejected=rejected) + self._write(items, session)
            note = {"done": done, "tally": tally.as_document(), "rejects_bytes": rejects_bytes}
            self._imports.update_one({"_id": self._digest}, {"$set": note}, session=session)
            return tally

        if self._session is None:
            raise OvertakenError("the import was not started")
        # Not the driver's `with_transaction`, which retries for two minutes without a message.
        with self._session.start_transaction():
            return work(self._session)

    def _write(self, items: Sequence[Item], session: "ClientSession") -> Tally:
        planned = plan(items, self._known(items, session), now_in_milliseconds())
        if planned.tweets:
            self._tweets.bulk_write(planned.tweets, ordered=False, session=session)
        if planned.counts:
            self._database[COUNTS_COLLECTION].bulk_write(planned.counts, session=session)
        if planned.profiles:
            self._database[PROFILES_COLLECTION].bulk_write(planned.profiles, ordered=False, session=session)
        return Tally(
            inserted=planned.inserted,
            updated=planned.updated,
            skipped=planned.skipped,
            originals=planned.originals,
        )

    def _known(self, items: Sequence[Item], session: "ClientSession") -> Known:
        tweets = self._by_id(TWEETS_COLLECTION, references(items), KNOWN_FIELDS, session)
        former = {each for document in tweets.values() for each in referred_to(document)} - tweets.keys()
        tweets |= self._by_id(TWEETS_COLLECTION, former, KNOWN_FIELDS, session)
        authors = {author_id(item.tweet.user.id) for item in items}
        moved = [object_id(item.tweet.id) for item in items if is_moved(item, tweets)]
        below = self._tweets.find({"ancestors": {"$in": moved}}, ("ancestors", "reply_to"), session=session)
        # MongoDB uses a partial index only if the query repeats its filter.
        of_new = {"repost_of": {"$in": [each for each in moved if each not in tweets], "$type": "objectId"}}
        reposts = self._tweets.aggregate(
            [{"$match": of_new}, {"$group": {"_id": "$repost_of", "reposts": {"$sum": 1}}}], session=session
        )
        return Known(
            tweets,
            below=list(below),
            reposts={group["_id"]: group["reposts"] for group in reposts},
            profiles=self._by_id(PROFILES_COLLECTION, authors, None, session),
        )

    def _by_id(
        self, collection: str, ids: Collection[Any], fields: Sequence[str] | None, session: "ClientSession"
    ) -> dict[Any, Document]:
        if not ids:
            return {}
        found = self._database[collection].find({"_id": {"$in": list(ids)}}, fields, session=session)
        return {document["_id"]: document for document in found}
