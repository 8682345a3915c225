"""Server-Sent Events (WHATWG HTML §9.2): one source of events, many subscribers.

`Hub` has the subscribers and an `EventBuffer` of the latest events; each `Subscription` is a cursor into that buffer.
`EventStream` is the HTTP response. A service adds an adapter: where events come from, and which of them a subscriber
wants.
"""
