"""Entity tags of tweets (RFC 9110 §8.8.3): `"VERSION-DIGEST"`. Pure.

The digest covers everything that is answered, so that a cached tweet is fetched again when its author was renamed
or a reply came in. An edit is guarded by the version alone: a reply in between must not stand in its way, and a
client that has the tweet from a list can send `"VERSION"`.
"""

import re
from hashlib import blake2b

from tweet_service.tweets.schemas import Tweet

# The gateway weakens a tag when it compresses the answer, so a weak one must be good for an edit as well: the
# version in it is exact either way.
_TAG = re.compile(r'\s*(?:W/)?"([^"]*)"\s*')
_VERSION = re.compile(r"([0-9]{1,9})(?:-[0-9a-f]+)?")


def json_of(tweet: Tweet) -> bytes:
    """What is answered."""
    return tweet.model_dump_json().encode()


def etag(version: int, content: bytes) -> str:
    """Of the tweet of this version and these bytes."""
    return f'"{version}-{blake2b(content, digest_size=8).hexdigest()}"'


def is_current(if_none_match: str, current: str) -> bool:
    """Does the client have this already? Weak comparison (RFC 9110 §13.1.2)."""
    return if_none_match.strip() == "*" or current.strip('"') in _tags(if_none_match)


def allows_edit_of(if_match: str, version: int) -> bool:
    """Is this version one of those that the client means?"""
    if if_match.strip() == "*":
        return True
    versions = (_VERSION.fullmatch(tag) for tag in _tags(if_match))
    return version in {int(match[1]) for match in versions if match}


def _tags(header: str) -> list[str]:
    matches = (_TAG.fullmatch(part) for part in header.split(","))
    return [match[1] for match in matches if match]
