"""Problems of searches."""

from service_kit.problems import ServiceUnavailable


class SearchTimeout(ServiceUnavailable):
    code, title = "search-timeout", "The search took too long. Try a rarer word, or try again shortly."
