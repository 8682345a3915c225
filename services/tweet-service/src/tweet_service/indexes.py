"""The indexes of all collections, for the service and the import."""

from tweet_service.follows import repository as follows
from tweet_service.idempotency import repository as idempotency
from tweet_service.limits import repository as limits
from tweet_service.profiles import repository as profiles
from tweet_service.reactions import repository as likes
from tweet_service.tweets import repository as tweets

INDEXES = {
    tweets.COLLECTION: tweets.INDEXES,
    likes.COLLECTION: likes.INDEXES,
    follows.COLLECTION: follows.INDEXES,
    profiles.IMPORTED_COLLECTION: profiles.IMPORTED_INDEXES,
    idempotency.COLLECTION: idempotency.INDEXES,
    limits.COLLECTION: limits.INDEXES,
}
