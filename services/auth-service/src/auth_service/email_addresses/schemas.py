"""Schemas of confirming and restoring an address."""

from auth_service.one_time_tokens.schemas import MailedToken
from service_kit.schemas import RequestBody


class EmailConfirmation(RequestBody):
    token: MailedToken


class EmailUndo(RequestBody):
    token: MailedToken
