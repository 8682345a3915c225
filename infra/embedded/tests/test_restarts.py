from embedded_stack.restarts import MAX_RESTARTS, WINDOW_SECONDS, RestartPolicy


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_delay_of_restarts_doubles_up_to_a_limit() -> None:
    policy = RestartPolicy(Clock())
    assert [policy.next_restart("sync") for _ in range(MAX_RESTARTS + 1)] == [1, 2, 4, None]


def test_each_component_has_its_own_count() -> None:
    policy = RestartPolicy(Clock())
    for _ in range(MAX_RESTARTS):
        policy.next_restart("sync")
    assert policy.next_restart("auth") == 1


def test_old_restarts_do_not_count() -> None:
    clock = Clock()
    policy = RestartPolicy(clock)
    for _ in range(MAX_RESTARTS):
        policy.next_restart("sync")
    clock.now += WINDOW_SECONDS + 5
    assert policy.next_restart("sync") == 1


def test_count_is_reset_when_an_operator_starts_the_component() -> None:
    policy = RestartPolicy(Clock())
    for _ in range(MAX_RESTARTS):
        policy.next_restart("sync")
    policy.forget("sync")
    assert policy.next_restart("sync") == 1
