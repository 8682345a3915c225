"""The page /docs: Swagger UI, with all files from this origin.

FastAPI's own page loads the newest version from a CDN and runs an inline script. It shares its origin with the user
interface and its cookie, so both would give access to a visitor's session. Here a pinned package provides Swagger UI,
and the Content-Security-Policy of the gateway (`default.conf.template`) allows only scripts in files of this origin.
"""

import html
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

PATH = "/docs"

# Addresses are relative, because the gateway publishes the page under a prefix.
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{title}</title>
  <link rel="icon" href="docs/files/favicon-32x32.png">
  <link rel="stylesheet" href="docs/files/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="docs/files/swagger-ui-bundle.js"></script>
  <script src="docs/files/initializer.js"></script>
</body>
</html>
"""


def serve_documentation(app: FastAPI) -> None:
    """Add the page to an application that was created with `docs_url=None`."""
    page = _PAGE.format(title=html.escape(app.title))

    @app.get(PATH, include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(page)

    files = StaticFiles(directory=Path(__file__).parent / "files", packages=[("fastapi_swagger", "resources")])
    app.mount(f"{PATH}/files", files)
