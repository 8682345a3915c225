"""`create_accounts COUNT PASSWORD`: accounts `bench0`, `bench1` …"""

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        parser.add_argument("count", type=int)
        parser.add_argument("password")

    def handle(self, *, count, password, **_options):
        for number in range(count):
            User.objects.create_user(f"bench{number}", f"bench{number}@example.com", password, first_name="Bench Mark")
