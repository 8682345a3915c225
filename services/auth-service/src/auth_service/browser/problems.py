"""Problem of a request from another site."""

from service_kit.problems import Forbidden


class CrossSiteRequest(Forbidden):
    code, title = "cross-site-request", "The request does not come from a page of this site."
