"""A tweet, a new one, and a page of the home timeline."""

from datetime import UTC, datetime

from bson import ObjectId
from rest_framework.exceptions import NotFound
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.peers.django_tweets.documents import author_of, database, newest, one, shown
from benchmarks.peers.django_tweets.entities import extract
from benchmarks.peers.django_tweets.serializers import NewTweet, Tweet

PAGE = 20
MAX_FOLLOWEES = 1000


class OneTweet(APIView):
    def get(self, _request, tweet_id):
        found = one(ObjectId(tweet_id)) if ObjectId.is_valid(tweet_id) else None
        if found is None:
            raise NotFound
        return Response(Tweet(found).data)


class Tweets(APIView):
    def post(self, request):
        new = NewTweet(data=request.data)
        new.is_valid(raise_exception=True)
        text = new.validated_data["text"]
        entities = extract(text)
        tweet = {
            "_id": ObjectId(),
            "text": text,
            "author_id": request.user.id,
            "created_at": datetime.now(UTC),
            "edited_at": None,
            "version": 1,
            **dict.fromkeys(("reply_to", "repost_of", "quote_of", "lang", "source")),
            "entities": entities,
            "tags": list({hashtag["tag"].casefold() for hashtag in entities["hashtags"]}),
            "ancestors": [],
            "edits": [],
        }
        database()["tweets"].insert_one(tweet)
        answer = shown(tweet, author_of(request.user.id), [])
        return Response(Tweet(answer).data, status=201, headers={"Location": f"/v1/tweets/{tweet['_id']}"})


class HomeTimeline(APIView):
    permission_classes = (IsAuthenticated,)

    def get(self, request):
        follows = database()["follows"].find({"_id.follower_id": request.user.id})
        latest = follows.sort([("created_at", -1), ("_id.followee_id", -1)]).limit(MAX_FOLLOWEES)
        people = [request.user.id, *(follow["_id"]["followee_id"] for follow in latest)]
        page = newest({"author_id": {"$in": people}}, PAGE + 1)
        cursor = str(page[-1]["_id"]) if len(page) > PAGE else None
        return Response({"items": Tweet(page[:PAGE], many=True).data, "next_cursor": cursor})
