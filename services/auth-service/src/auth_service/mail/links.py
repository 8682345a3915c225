"""The addresses of the user interface that mails lead to: the one place that knows its paths."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Links:
    """`base` is the user interface's address without a slash at its end.

    Tokens stand behind the `#`: browsers keep that to themselves, so that no server's log and no `Referer` has them.
    """

    base: str

    def log_in(self) -> str:
        return f"{self.base}/login"

    def forgot_password(self) -> str:
        return f"{self.base}/forgot-password"

    def confirm_email(self, token: str) -> str:
        return f"{self.base}/confirm-email#token={quote(token, safe='')}"

    def reset_password(self, token: str) -> str:
        return f"{self.base}/reset-password#token={quote(token, safe='')}"
