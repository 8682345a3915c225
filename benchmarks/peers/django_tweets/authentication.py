"""Access tokens of auth-service, with a check of revocation in the copy of the users."""

from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed

from benchmarks.peers.django_tweets.documents import database


class TandemAuthentication(JWTStatelessUserAuthentication):
    def get_user(self, validated_token):
        fields = ["is_active", "tokens_valid_after", "_sync.deleted_at"]
        known = database()["users_copy"].find_one({"_id": validated_token["sub"]}, fields)
        if known is not None and _is_revoked(known, validated_token["iat"]):
            raise AuthenticationFailed("The token was revoked.")
        return super().get_user(validated_token)


def _is_revoked(known, issued_at):
    valid_after = known.get("tokens_valid_after")
    too_old = valid_after is not None and issued_at < valid_after.timestamp()
    return too_old or not known.get("is_active", True) or known["_sync"]["deleted_at"] is not None
