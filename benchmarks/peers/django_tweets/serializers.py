"""The same fields as tweet-service's."""

import unicodedata

from rest_framework import serializers


class Author(serializers.Serializer):
    id = serializers.CharField(source="_id")
    username = serializers.CharField()
    name = serializers.CharField()


class Hashtag(serializers.Serializer):
    tag = serializers.CharField()
    start = serializers.IntegerField()
    end = serializers.IntegerField()


class Mention(serializers.Serializer):
    username = serializers.CharField()
    start = serializers.IntegerField()
    end = serializers.IntegerField()


class Url(serializers.Serializer):
    url = serializers.CharField()
    start = serializers.IntegerField()
    end = serializers.IntegerField()


class Entities(serializers.Serializer):
    hashtags = Hashtag(many=True)
    mentions = Mention(many=True)
    urls = Url(many=True)


class Counts(serializers.Serializer):
    likes = serializers.IntegerField()
    reposts = serializers.IntegerField()
    replies = serializers.IntegerField()


class Tweet(serializers.Serializer):
    id = serializers.CharField()
    text = serializers.CharField()
    author = Author()
    author_deleted = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    edited_at = serializers.DateTimeField()
    version = serializers.IntegerField()
    reply_to = serializers.CharField()
    repost_of = serializers.CharField()
    quote_of = serializers.CharField()
    entities = Entities()
    counts = Counts()
    lang = serializers.CharField()
    source = serializers.CharField()


class NewTweet(serializers.Serializer):
    text = serializers.CharField(max_length=280)

    def validate_text(self, text):
        return unicodedata.normalize("NFC", text)
