"""Entity tags of tweets (RFC 9110 §8.8.3): `"VERSION-DIGEST"`. Pure.

The digest covers the whole response, so a cached tweet is fetched again after its author was renamed or a reply was
posted. An edit requires only the same version, because a reply must not prevent it. A client that has the tweet from a
list can send `"VERSION"`.
"""

import re
from hashlib import blake2b

from tweet_service.tweets.schemas import Tweet

# The gateway weakens a tag when it compresses the response, so an edit accepts weak tags. Their version is exact.
_TAG = re.compile(r'\s*(?:W/)?"([^"]*)"\s*')
_VERSION = re.compile(r"([0-9]{1,9})(?:-[0-9a-f]+)?")


def json_of(tweet: Tweet) -> bytes:
    """The body of a response."""
    return tweet.model_dump_json().encode()


def etag(version: int, content: bytes) -> str:
    """The entity tag of a tweet with this version and body."""
    return f'"{version}-{blake2b(content, digest_size=8).hexdigest()}"'


def is_current(if_none_match: str, current: str) -> bool:
    """Whether the client has the current representation, by weak comparison (RFC 9110 §13.1.2)."""
    return if_none_match.strip() == "*" or current.strip('"') in _tags(if_none_match)


def allows_edit_of(if_match: str, version: int) -> bool:
    """Whether the client allows an edit of this version (RFC 9110 §13.1.1)."""
    if if_match.strip() == "*":
        return True
    versions = (_VERSION.fullmatch(tag) for tag in _tags(if_match))
    return version in {int(match[1]) for match in versions if match}


def _tags(header: str) -> list[str]:
    matches = (_TAG.fullmatch(part) for part in header.split(","))
    return [match[1] for match in matches if match]
