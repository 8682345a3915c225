from embedded_stack.restarts import MAX_RESTARTS, WINDOW_SECONDS, RestartPolicy


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_restarts_come_later_and_later_and_then_no_more() -> None:
    policy = RestartPolicy(Clock())
    assert [policy.next_restart("sync") for _ in range(MAX_RESTARTS + 1)] == [1, 2, 4, None]


def test_components_are_counted_apart() -> None:
    policy = RestartPolicy(Clock())
    for _ in range(MAX_RESTARTS):
        policy.next_restart("sync")
    assert policy.next_restart("auth") == 1


def test_restarts_of_long_ago_do_not_count() -> None:
    clock = Clock()
    policy = RestartPolicy(clock)
    for _ in range(MAX_RESTARTS):
        policy.next_restart("sync")
    clock.now += WINDOW_SECONDS + 5
    assert policy.next_restart("sync") == 1


def test_count_starts_over_for_what_a_person_has_started() -> None:
    policy = RestartPolicy(Clock())
    for _ in range(MAX_RESTARTS):
        policy.next_restart("sync")
    policy.forget("sync")
    assert policy.next_restart("sync") == 1
