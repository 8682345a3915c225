"""Django's settings. The benchmark sets the `PEER_…` variables for each run."""

import os
from datetime import timedelta

import pymysql

# Django imports mysqlclient by its module name.
pymysql.install_as_MySQLdb()

DEBUG = False
SECRET_KEY = os.environ["PEER_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.peers.django_auth.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
    "benchmarks.peers.django_auth",
]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": os.environ["PEER_MYSQL_HOST"],
        "PORT": os.environ["PEER_MYSQL_PORT"],
        "USER": os.environ["PEER_MYSQL_USER"],
        "PASSWORD": os.environ["PEER_MYSQL_PASSWORD"],
        "NAME": os.environ["PEER_MYSQL_SCHEMA"],
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}

PASSWORD_HASHERS = ["benchmarks.peers.django_auth.hashers.OwaspArgon2PasswordHasher"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}

SIMPLE_JWT = {
    "ALGORITHM": "ES256",
    "SIGNING_KEY": os.environ["PEER_SIGNING_KEY"],
    "VERIFYING_KEY": os.environ["PEER_VERIFYING_KEY"],
    "ISSUER": "http://localhost:8080/api/auth",
    "AUDIENCE": "tandem",
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(hours=12),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
}
