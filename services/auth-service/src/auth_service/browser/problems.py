"""What can be wrong with where a browser's request comes from."""

from service_kit.problems import Forbidden


class CrossSiteRequest(Forbidden):
    code, title = "cross-site-request", "This can only be asked by a page of this site."
