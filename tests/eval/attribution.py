"""How often the right commit is first: labelled histories of our own making, seeded, one fault each.

Run with `pytest -m slow tests/eval/attribution.py -s`. Every case is a real git repository with a guilty commit among
innocent ones: features in other modules, a rename in the guilty function, documents, tests, a lock file, a formatter.
The floors are what was measured when they were written down; raise them when the ranking gets better.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest

from obsvty.evidence.clues import Clues, ExceptionClue
from obsvty.evidence.stack import parse_stack
from obsvty.evidence.suspects import rank_suspects
from obsvty.model import Attribution, CodeLocation, EdgeChange
from obsvty.plugins.git_local import LocalGitProvider
from obsvty.ports.git import GitConfig

pytestmark = pytest.mark.slow

Kind = Literal["new call", "new call behind a helper", "n+1", "error", "wide query", "nothing"]
KINDS: Final[tuple[Kind, ...]] = (
    "new call",
    "new call behind a helper",
    "n+1",
    "error",
    "wide query",
    "nothing",
)
SEEDS: Final = range(4)
FLOOR_TOP1: Final = 0.85
FLOOR_TOP3: Final = 0.95
FLOOR_ABSTAINED: Final = 0.75  # of the cases whose cause is no commit

NOUNS: Final = (
    "order",
    "invoice",
    "parcel",
    "refund",
    "basket",
    "coupon",
    "ticket",
    "address",
    "stock",
    "review",
)
PARTNERS: Final = ("bank", "carrier", "tax", "fraud", "loyalty", "ledger")


@dataclass(frozen=True)
class Case:
    """A history, the question asked of it, and the answer ("" where no commit is to blame)."""

    git: LocalGitProvider
    clues: Clues
    base: str
    head: str
    guilty: str


class Maker:
    """Writes one labelled history."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.nouns = self.random.sample(NOUNS, 6)
        self.time = 1_790_000_000
        folder.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    def make(self, kind: Kind) -> Case:
        """Start, innocent commits, the fault (if any), innocent commits."""
        noun, partner = self.nouns[0], self.random.choice(PARTNERS)
        start: dict[str, str] = {f"shop/{name}s.py": _module(name) for name in self.nouns}
        start["shop/http.py"] = _HTTP
        start[f"shop/{partner}.py"] = _client(partner)
        base = self._commit("start", {**start, "README.md": "# Shop\n", "uv.lock": "version = 1\n"})
        for _ in range(self.random.randint(2, 6)):
            self._innocent(noun)
        guilty, clues = "", _nothing(noun)
        if kind != "nothing":
            changes, clues = _fault(kind, noun, partner)
            guilty = self._commit(
                f"feat: {self.random.choice(('better', 'safer', 'new'))} {noun}s", changes(self._read)
            )
        for _ in range(self.random.randint(2, 6)):
            self._innocent(noun)
        head = self._commit(f"refactor({noun}s): name the result", _renamed(noun, self._read))
        if kind == "error":
            clues = _error(noun, self._read(f"shop/{noun}s.py"))
        return Case(
            git=LocalGitProvider(GitConfig(repository=str(self.folder))),
            clues=clues,
            base=base,
            head=head,
            guilty=guilty,
        )

    def _innocent(self, avoid: str) -> None:
        name = self.random.choice([n for n in self.nouns if n != avoid])
        path = f"shop/{name}s.py"
        choice = self.random.randrange(5)
        if choice == 0:
            self._commit("docs: more", {"README.md": self._read("README.md") + f"\nSells {name}s.\n"})
        elif choice == 1:
            self._commit(
                "test: more", {f"tests/test_{avoid}s_{self.time}.py": f"def test_{avoid}():\n    assert 1\n"}
            )
        elif choice == 2:
            self._commit("build: bump", {"uv.lock": self._read("uv.lock") + f"# {self.time}\n"})
        elif choice == 3:
            more = (
                f'\n\ndef count_{name}s(db):\n    return db.execute("SELECT count(*) FROM {name}s").one()\n'
            )
            self._commit(f"feat: count {name}s", {path: self._read(path) + more})
        else:
            more = f"\n\ndef export_{name}s(db):\n    return [dict(row) for row in find_{name}s(db, None)]\n"
            self._commit(f"feat: export {name}s", {path: self._read(path) + more})

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")

    def _commit(self, subject: str, changes: Mapping[str, str]) -> str:
        for name, text in changes.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        self.time += 3600
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        who = {"NAME": "Ada", "EMAIL": "ada@shop.example", "DATE": f"{self.time} +0000"}
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        environment |= {f"GIT_{r}_{k}": v for r in ("AUTHOR", "COMMITTER") for k, v in who.items()}
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        return done.stdout.strip()


_HTTP: Final = """import requests

session = requests.Session()


def send(url, body):
    return session.post(url, json=body, timeout=5)
"""


def _client(partner: str) -> str:
    return f"""import os

from shop import http

URL = os.environ["{partner.upper()}_URL"]


def ask_{partner}(body):
    return http.send(f"{{URL}}/{partner}/assessments", body)
"""


def _module(noun: str) -> str:
    return f"""from shop import app


def find_{noun}s(db, ids):
    return db.execute("SELECT * FROM {noun}s WHERE id IN (?)", ids).all()


def load_{noun}(db, number):
    return db.execute("SELECT * FROM {noun}s WHERE id = ?", number).one()


@app.get("/{noun}s/{{number}}")
def show_{noun}(db, request):
    rows = find_{noun}s(db, request.ids)
    return [row.name for row in rows]
"""


def _edge(
    edge: str, ms: float, kind: Literal["new", "more_calls", "slower"], calls: tuple[float, float]
) -> EdgeChange:
    return EdgeChange(
        edge=edge,
        service="shop",
        kind=kind,
        calls_before=calls[0],
        calls_after=calls[1],
        ms_before=0.0 if kind == "new" else 2.0,
        ms_after=ms,
    )


def _clues(noun: str, *edges: EdgeChange) -> Clues:
    return Clues(
        service="shop",
        operation=f"GET /{noun}s/{{number}}",
        route=f"/{noun}s/{{number}}",
        delta_ms=sum(edge.delta_ms for edge in edges),
        edges=edges,
        requests=100,
    )


def _nothing(noun: str) -> Clues:
    """The database got slow by itself: the statement is as old as the shop."""
    return _clues(
        noun, _edge(f"postgresql SELECT * FROM {noun}s WHERE id IN (?)", 300.0, "slower", (1.0, 1.0))
    )


Read = Callable[[str], str]


def _fault(kind: Kind, noun: str, partner: str) -> tuple[Callable[[Read], dict[str, str]], Clues]:
    path = f"shop/{noun}s.py"
    first = "    rows = find_"

    def insert(text: str, line: str) -> str:
        return text.replace(first, f"{line}{first}", 1)

    if kind == "new call":
        line = f'    session.post(os.environ["{partner.upper()}"] + "/{partner}/checks", json=request.ids)\n'
        edge = _edge(f"POST {partner}.example:8443/{partner}/checks", 250.0, "new", (0.0, 1.0))
        return (lambda read: {path: insert(read(path), line)}), _clues(noun, edge)
    if kind == "new call behind a helper":
        line = f"    {partner}.ask_{partner}(request.ids)\n"
        edge = _edge(f"POST {partner}.example:8443/{partner}/assessments", 250.0, "new", (0.0, 1.0))
        return (lambda read: {path: insert(read(path), line)}), _clues(noun, edge)
    if kind == "n+1":
        old, new = (
            f"find_{noun}s(db, request.ids)\n",
            f"[load_{noun}(db, number) for number in request.ids]\n",
        )
        edge = _edge(f"postgresql SELECT * FROM {noun}s WHERE id = ?", 180.0, "more_calls", (0.1, 40.0))
        return (lambda read: {path: read(path).replace(f"    rows = {old}", f"    rows = {new}")}), _clues(
            noun, edge
        )
    if kind == "wide query":
        old, new = (
            f"FROM {noun}s WHERE id IN (?)",
            f"FROM {noun}s JOIN audits ON audits.{noun} = id WHERE id IN (?)",
        )
        edge = _edge(f"postgresql SELECT * {new}", 400.0, "new", (0.0, 1.0))
        return (lambda read: {path: read(path).replace(old, new)}), _clues(noun, edge)
    old, new = (
        "    return [row.name for row in rows]\n",
        "    return [row.owner.name.title() for row in rows]\n",
    )
    return (lambda read: {path: read(path).replace(old, new)}), _clues(noun)


def _renamed(noun: str, read: Read) -> dict[str, str]:
    path = f"shop/{noun}s.py"
    return {path: read(path).replace("    rows = ", "    found = ").replace(" in rows]", " in found]")}


def _error(noun: str, text: str) -> Clues:
    line = 1 + next(at for at, line in enumerate(text.splitlines()) if "row.owner" in line)
    file = f"/srv/app/shop/{noun}s.py"
    stack = (
        "Traceback (most recent call last):\n"
        '  File "/opt/venv/lib/python3.11/site-packages/flask/app.py", line 9, in run\n'
        f'  File "{file}", line {line}, in show_{noun}\n'
    )
    error = ExceptionClue(
        type="AttributeError",
        message="'NoneType' object has no attribute 'name'",
        frames=tuple(parse_stack(stack)),
        count=30,
    )
    place = CodeLocation(file=file, line=line, function=f"show_{noun}", source="log", count=30)
    return Clues(
        service="shop",
        operation=f"GET /{noun}s",
        route=f"/{noun}s",
        requests=30,
        exceptions=(error,),
        code=(place,),
    )


def _place(found: Attribution, guilty: str) -> int:
    """Rank of the guilty commit, 0 when it is not named."""
    return next((s.rank for s in found.suspects if s.commit.revision == guilty), 0)


def test_the_guilty_commit_is_first_as_often_as_it_was(tmp_path: Path) -> None:
    rows: list[tuple[str, int, int, int, int]] = []
    for kind in KINDS:
        ranks: list[int] = []
        for seed in SEEDS:
            case = Maker(tmp_path / f"{kind.replace(' ', '-')}-{seed}", seed).make(kind)
            found = rank_suspects(case.git, case.clues, base=case.base, head=case.head, base_reason="label")
            ranks.append(_place(found, case.guilty) if case.guilty else -1 if found.abstained else 0)
        named = [rank for rank in ranks if rank > 0]
        rows.append(
            (
                kind,
                len(ranks),
                sum(r == 1 for r in named),
                sum(r <= 3 for r in named),
                sum(r == -1 for r in ranks),
            )
        )
    print(f"\n{'case':26} {'n':>3} {'top1':>5} {'top3':>5} {'abstained':>10}")
    for kind, count, top1, top3, abstained in rows:
        print(f"{kind:26} {count:3} {top1:5} {top3:5} {abstained:10}")
    faults = [row for row in rows if row[0] != "nothing"]
    total = sum(row[1] for row in faults)
    assert sum(row[2] for row in faults) / total >= FLOOR_TOP1
    assert sum(row[3] for row in faults) / total >= FLOOR_TOP3
    innocent = rows[-1]
    assert innocent[4] / innocent[1] >= FLOOR_ABSTAINED
