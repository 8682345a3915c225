"""The roles of users, as access tokens carry them in the claim `role`."""

from enum import StrEnum


class Role(StrEnum):
    CUSTOMER = "customer"
    TECHNICAL_WORKER = "technical_worker"
    SENIOR_MANAGER = "senior_manager"
    ADMIN = "admin"
