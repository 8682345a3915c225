"""`time_token_check LIBRARY TOKEN SECONDS`: check an access token repeatedly; print the measurement as JSON."""

import json
from dataclasses import asdict

import jwt
from django.conf import settings
from django.core.management.base import BaseCommand
from rest_framework_simplejwt.tokens import AccessToken

from benchmarks.measurement import repeat


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("library", choices=["PyJWT", "SimpleJWT"])
        parser.add_argument("token")
        parser.add_argument("seconds", type=float)

    def handle(self, *, library, token, seconds, **_options):
        check = _pyjwt(token) if library == "PyJWT" else lambda: AccessToken(token)
        self.stdout.write(json.dumps(asdict(repeat(check, seconds))))


def _pyjwt(token):
    options = settings.SIMPLE_JWT
    key = jwt.get_algorithm_by_name("ES256").prepare_key(options["VERIFYING_KEY"])
    return lambda: jwt.decode(token, key, algorithms=["ES256"], audience=options["AUDIENCE"], issuer=options["ISSUER"])
