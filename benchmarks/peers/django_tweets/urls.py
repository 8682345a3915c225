"""The same three calls as tweet-service's."""

from django.urls import path

from benchmarks.peers.django_tweets.views import HomeTimeline, OneTweet, Tweets

urlpatterns = [
    path("v1/tweets", Tweets.as_view()),
    path("v1/tweets/<str:tweet_id>", OneTweet.as_view()),
    path("v1/timeline", HomeTimeline.as_view()),
]
