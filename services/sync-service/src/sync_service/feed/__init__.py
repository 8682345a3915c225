"""`/v1/events`: change events as they pass, as Server-Sent Events."""
