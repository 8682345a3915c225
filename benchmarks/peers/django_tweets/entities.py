"""Hashtags, mentions and links of a text, by three regular expressions. tweet-service covers more cases."""

import re

_URL = re.compile(r"https?://[^\s<>\"]+")
_HASHTAG = re.compile(r"(?<!\w)#(\w+)")
_MENTION = re.compile(r"(?<![\w@])@([A-Za-z0-9_]{1,30})")


def extract(text):
    def found(expression, name, group):
        return [{name: m[group], "start": m.start(), "end": m.end()} for m in expression.finditer(text)]

    return {
        "hashtags": found(_HASHTAG, "tag", 1),
        "mentions": found(_MENTION, "username", 1),
        "urls": found(_URL, "url", 0),
    }
