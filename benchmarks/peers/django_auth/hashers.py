"""Argon2 with auth-service's parameters."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class OwaspArgon2PasswordHasher(Argon2PasswordHasher):
    """OWASP Password Storage Cheat Sheet: m=19456 KiB, t=2, p=1. Django's own are 102400, 2, 8."""

    memory_cost = 19456
    time_cost = 2
    parallelism = 1
