"""Addresses of pages of the user interface, for links in mails."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Links:
    """`base` is the user interface's address without a trailing slash.

    Tokens are in the fragment (`#`), which browsers do not send, so that no log and no `Referer` header contains them.
    """

    base: str

    def log_in(self) -> str:
        return f"{self.base}/login"

    def register(self) -> str:
        return f"{self.base}/register"

    def forgot_password(self) -> str:
        return f"{self.base}/forgot-password"

    def confirm_email(self, token: str) -> str:
        return f"{self.base}/confirm-email#token={quote(token, safe='')}"

    def undo_email(self, token: str) -> str:
        return f"{self.base}/undo-email#token={quote(token, safe='')}"

    def reset_password(self, token: str) -> str:
        return f"{self.base}/reset-password#token={quote(token, safe='')}"
