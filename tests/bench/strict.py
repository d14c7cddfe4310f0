"""`make bench-strict`: the corpus of tests/cases, over sockets, on penstock and on other servers.

Each server runs the same application, which tells what it saw, and gets every case in one piece. What must come of a
case is what tests/cases says: where the RFC leaves a choice, that is penstock's, so a server that differs is not
always wrong. It is when it takes what must be refused, or sees another request than was sent. The limits are left
out, for every server has its own; so are WebSockets, where a server lets them be. `--show SERVER` lists the cases one by one.
"""

import argparse
import json
import socket
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench.servers import KINDS, Kind, running
from support.cases import Case, Seen, load
from support.responses import Response, read_responses

SUPPORT = Path(__file__).parent.parent / "support"

PATIENCE = 1.0
"""Seconds without a word after which a server has nothing more to say."""

AS_ASKED, TAKEN, REFUSED, MISREAD, FAILED, SILENT = "as asked", "taken", "refused", "misread", "failed", "silent"
MEANING = {
    AS_ASKED: "what the case says; a refusal may have another status, or be a closed connection",
    TAKEN: "answered 200 where a refusal is due",
    REFUSED: "refused where an answer is due",
    MISREAD: "the application saw another method, path, Host, body or number of requests than were sent",
    FAILED: "answered 500, or what no client can read",
    SILENT: "neither answered nor closed",
}


def main() -> int:
    """Run the servers one after another, print the table."""
    parser = argparse.ArgumentParser(prog="make bench-strict ARGS=...", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--servers", type=lambda text: text.split(","), default=list(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--show", metavar="SERVER", help="list every case that this server takes differently")
    parser.add_argument("--python", default=sys.executable, help="the interpreter the servers run on")
    options = parser.parse_args()
    cases = [case for case in load() if not case.place.startswith("limits")]
    verdicts = {}
    for name in [options.show] if options.show else options.servers:
        verdicts[name] = judge_server(KINDS[name], options.python, cases)
        if options.show:
            for case, verdict in zip(cases, verdicts[name], strict=True):
                if verdict != AS_ASKED:
                    print(f"{verdict:9} {case}  ({case.clause})")
    print(table(cases, verdicts))
    return 0


def judge_server(kind: Kind, python: str, cases: list[Case]) -> list[str]:
    """A verdict for each case, sixteen at a time."""
    reporting = replace(kind, words=f"{kind.words} {kind.http_only}".replace("apps:app", "reporting:app"))
    with running(reporting, python, SUPPORT) as server, ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda case: judge(case, server.port), cases))


def judge(case: Case, port: int) -> str:
    """What a server makes of one case."""
    expected = case.expected
    finished = [each for each in expected.requests if each.is_finished]
    methods = [each.method for each in expected.requests]
    received, has_closed = _talk(case, port, len(finished) + bool(expected.status), methods)
    try:
        responses = read_responses(received, methods)
    except (AssertionError, ValueError):
        return FAILED
    answers = [each for each in responses if each.status == 200]
    if any(each.status == 500 for each in responses):
        return FAILED
    if len(answers) > len(finished):
        return TAKEN if expected.status else MISREAD
    if len(answers) < len(finished):
        return REFUSED if has_closed or len(responses) > len(answers) else SILENT
    if not all(_saw(seen, answer) for seen, answer in zip(finished, answers, strict=True)):
        return MISREAD
    if expected.status and not has_closed and len(responses) == len(answers):
        return SILENT
    return AS_ASKED


def _saw(seen: Seen, answer: Response) -> bool:
    saw = json.loads(answer.get(b"x-saw") or b"{}")
    path, query = saw.get("raw_path") or saw.get("path", ""), saw.get("query", "")
    target = path.partition("?")[0] + (f"?{query}" if query else "")
    got = saw.get("method"), target.encode("latin-1", "replace"), saw.get("body", "").encode("latin-1")
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in saw.get("headers", [])]
    return got == (seen.method, seen.target, seen.body) and all(each in fields for each in seen.fields)


def _talk(case: Case, port: int, wanted: int, methods: list[str]) -> tuple[bytes, bool]:
    """Send a case and read until the server ends, has said as much as is wanted, or is silent."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.sendall(case.octets)
            while octets := sock.recv(65536):
                received += octets
                if _count(received, methods) >= wanted:
                    # It may have more to say than it should.
                    sock.settimeout(PATIENCE / 10)
        except TimeoutError:
            return received, False
        except OSError:
            pass
    return received, True


def _count(received: bytes, methods: list[str]) -> int:
    try:
        return sum(1 for _ in read_responses(received, methods))
    except (AssertionError, ValueError):
        return 0


def table(cases: list[Case], verdicts: dict[str, list[str]]) -> str:
    """Subjects down, servers across: how many cases come to what was asked; then what came of the others."""
    subjects = list(dict.fromkeys(case.place.partition(".")[0] for case in cases))
    rows = [["", "cases", *verdicts]]
    for subject in subjects:
        places = [at for at, case in enumerate(cases) if case.place.startswith(subject + ".")]
        rows.append([subject, str(len(places)), *(str(sum(all_of[at] == AS_ASKED for at in places)) for all_of in verdicts.values())])
    totals = [Counter(all_of) for all_of in verdicts.values()]
    rows += [[verdict, str(len(cases)) if verdict == AS_ASKED else "", *(str(each[verdict]) for each in totals)] for verdict in MEANING]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    return "\n".join([*lines, "", *(f"{verdict}: {meaning}" for verdict, meaning in MEANING.items())])


if __name__ == "__main__":
    sys.exit(main())
