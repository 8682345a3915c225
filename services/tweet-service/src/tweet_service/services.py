"""Creates the services of the application, once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tweet_service.database import Transactions
from tweet_service.follows.repository import FollowRepository
from tweet_service.follows.service import FollowService
from tweet_service.idempotency.repository import IdempotencyRepository
from tweet_service.idempotency.service import IdempotentPosting
from tweet_service.limits.costly import CostlyReads
from tweet_service.limits.fair_semaphore import FairLocks
from tweet_service.limits.repository import LeaseRepository
from tweet_service.limits.service import LimitPolicy, RateLimiter
from tweet_service.profiles.repository import ProfileRepository
from tweet_service.profiles.service import ProfileService
from tweet_service.reactions.repository import LikeRepository
from tweet_service.reactions.service import ReactionService
from tweet_service.settings import Settings
from tweet_service.timelines.service import TimelineService
from tweet_service.tweets.presentation import TweetPresenter
from tweet_service.tweets.repository import TweetRepository
from tweet_service.tweets.service import TweetService
from tweet_service.users.counts import LargeCounts
from tweet_service.users.service import UserService

if TYPE_CHECKING:
    from tweet_service.database import Client, Database


@dataclass(frozen=True)
class Services:
    presenter: TweetPresenter
    profiles: ProfileService
    tweets: TweetService
    posting: IdempotentPosting
    reactions: ReactionService
    follows: FollowService
    users: UserService
    timelines: TimelineService
    limiter: RateLimiter
    writes: LimitPolicy
    reads: LimitPolicy
    tweet_repository: TweetRepository
    follow_repository: FollowRepository

    @classmethod
    def of(
        cls, client: "Client", database: "Database", settings: Settings, clock: Callable[[], float] = time.time
    ) -> "Services":
        transactions = Transactions(client)
        tweets, follows = TweetRepository(database), FollowRepository(database)
        profiles = ProfileService(ProfileRepository(database, settings.tweet_users_database))
        presenter = TweetPresenter(tweets, profiles)
        likes = LikeRepository(database)
        costly = CostlyReads(settings.tweet_costly_reads)
        tweet_service = TweetService(tweets, likes, profiles, presenter, transactions)
        return cls(
            presenter=presenter,
            profiles=profiles,
            tweets=tweet_service,
            posting=IdempotentPosting(IdempotencyRepository(database), tweets, tweet_service, presenter, transactions),
            reactions=ReactionService(
                likes=likes,
                tweets=tweets,
                profiles=profiles,
                presenter=presenter,
                transactions=transactions,
                locks=FairLocks(),
            ),
            follows=FollowService(follows, profiles),
            users=UserService(profiles, tweets, follows, LargeCounts(costly, clock)),
            timelines=TimelineService(
                tweets=tweets,
                follows=follows,
                presenter=presenter,
                tweet_service=tweet_service,
                costly=costly,
                clock=clock,
            ),
            limiter=RateLimiter(LeaseRepository(database), clock),
            writes=LimitPolicy("writes", settings.tweet_writes_per_minute),
            reads=LimitPolicy("reads", settings.tweet_reads_per_minute),
            tweet_repository=tweets,
            follow_repository=follows,
        )
