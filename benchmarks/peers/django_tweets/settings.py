"""Django's settings. The benchmark sets the `PEER_…` variables for each run."""

import os

DEBUG = False
SECRET_KEY = os.environ["PEER_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.peers.django_tweets.urls"
USE_TZ = True

# SimpleJWT's TokenUser imports the models of the first two; their tables are never queried.
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.common.CommonMiddleware",
]

MONGODB_URL = os.environ["PEER_MONGODB_URL"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["benchmarks.peers.django_tweets.authentication.TandemAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}

SIMPLE_JWT = {
    "ALGORITHM": "ES256",
    "JWK_URL": os.environ["PEER_JWKS_URL"],
    "ISSUER": os.environ["PEER_ISSUER"],
    "AUDIENCE": os.environ["PEER_AUDIENCE"],
    "USER_ID_CLAIM": "sub",
    # RFC 9068 has the type in the header, SimpleJWT expects a claim.
    "TOKEN_TYPE_CLAIM": None,
}
