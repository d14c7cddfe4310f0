from penstock.connection.states import MOVES, State


def test_every_state_has_its_line_in_the_table() -> None:
    assert set(MOVES) == set(State)


def test_every_state_but_the_first_can_be_reached_and_every_one_can_end() -> None:
    reached, fresh = {State.HANDSHAKING}, {State.HANDSHAKING}
    while fresh:
        fresh = {after for before in fresh for after in MOVES[before]} - reached
        reached |= fresh
    assert reached == set(State)
    assert all(State.CLOSED in MOVES[state] for state in State if state is not State.CLOSED)


def test_nothing_follows_the_end_and_every_move_has_a_cause() -> None:
    assert MOVES[State.CLOSED] == {}
    assert all(cause for moves in MOVES.values() for cause in moves.values())


def test_a_last_answer_leads_only_to_the_end() -> None:
    assert set(MOVES[State.FLUSHING]) == {State.LINGERING, State.CLOSED}
    assert set(MOVES[State.LINGERING]) == {State.CLOSED}


def test_a_websocket_begins_with_a_request_and_never_becomes_http_again() -> None:
    web = {State.OPEN, State.ENDING, State.CLOSING}
    assert {state for state in MOVES if MOVES[state].keys() & web} - web == {State.RUNNING}
    assert all(MOVES[state].keys() <= web | {State.FLUSHING, State.LINGERING, State.CLOSED} for state in web)
