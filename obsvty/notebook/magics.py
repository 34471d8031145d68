"""`%obsvty`, `%%osql` and the ready-made names: in the obsvty kernel, and in any other after `%load_ext obsvty`.

`obs`, `traces`, `logs` and `metrics` stand in the namespace as placeholders. The first cell that names one of them
opens the data folder and puts the real object in its place before it runs, so a notebook that needs none opens none.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

import obsvty.notebook.display
from obsvty.errors import ObsvtyError, UsageError
from obsvty.notebook.display import Text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

    from obsvty.session import Session

NAMES: Final = ("obs", "traces", "logs", "metrics")

HELP: Final = """\
%obsvty status                 what the data folder holds
%obsvty incidents              what was found
%obsvty investigate [ID]       the whole story of an incident (the latest without ID); also in the variable `inv`
%obsvty suspects TRACE_ID      which commit made this trace slow or fail
%obsvty context ID             the sanitized text that a model would get
%obsvty egress                 what left this machine
%obsvty help                   this
%%osql [-o VAR] SQL            SQL over traces, logs, metrics, resources; -o keeps the result as a table

obs        the session: obs.investigate(), obs.ask(inv, "why?"), obs.chat(inv)
traces, logs, metrics          Ibis tables; see docs/vocabulary.md for their columns
"""


@functools.cache
def session() -> Session:
    """The session of this kernel; opened at the first call, from `OBSVTY_DATA_DIR` or the settings."""
    from obsvty.session import open_session

    return open_session()


class Pending:
    """Stands in for `obs` or a table until it is first used, then forwards everything."""

    def __init__(self, name: str) -> None:
        self._pending_name = name

    def resolve(self) -> object:
        """The real object."""
        obs = session()
        return obs if self._pending_name == "obs" else getattr(obs, self._pending_name)

    def __getattr__(self, name: str) -> object:
        # IPython probes every object for reprs and canaries; those must not open a store
        if name.startswith(("_ipython", "_repr_", "__")):
            raise AttributeError(name)
        return getattr(self.resolve(), name)

    def __getitem__(self, key: object) -> object:
        real: object = self.resolve()
        getter: Callable[[object], object] = real.__getitem__  # pyright: ignore[reportAttributeAccessIssue] a table has it
        return getter(key)

    def __dir__(self) -> list[str]:
        return dir(self.resolve())

    def __repr__(self) -> str:
        return f"<{self._pending_name}: opened when first used>"


def _resolver(shell: InteractiveShell) -> Callable[[ExecutionInfo], None]:
    """A hook that puts the real objects in place before a cell that names them runs (Ibis joins want real tables)."""

    def before_cell(info: ExecutionInfo) -> None:
        for name in NAMES:
            value = shell.user_ns.get(name)
            if isinstance(value, Pending) and re.search(rf"\b{name}\b", str(info.raw_cell or "")):
                try:
                    shell.user_ns[name] = value.resolve()
                except ObsvtyError:
                    return  # a cell that really uses the name meets the same error again, and shows it

    return before_cell


@magics_class
class ObsvtyMagics(Magics):
    """Thin doors to the session."""

    @line_magic
    def obsvty(self, line: str) -> object:
        """%obsvty status | incidents | investigate [ID] | suspects TRACE_ID | context ID | egress | help"""  # noqa: D415 shown by %obsvty?
        command, *words = line.split() or ["help"]
        actions: dict[str, Callable[[list[str]], object]] = {
            "status": self._status,
            "incidents": lambda _: session().incidents,
            "investigate": self._investigate,
            "suspects": self._suspects,
            "context": self._context,
            "egress": self._egress,
            "help": lambda _: Text(HELP),
        }
        if command not in actions:
            raise UsageError(f"%obsvty has no command {command!r}.", hint=f"One of: {', '.join(actions)}.")
        return actions[command](words)

    def _status(self, _words: list[str]) -> Text:
        obs = session()
        rows = [
            (name, int(getattr(obs, name).count().to_pyarrow().as_py())) for name in (*NAMES[1:], "resources")
        ]
        return Text("\n".join([f"data folder  {obs.data_dir}", *(f"{name:<11}{n:>10,}" for name, n in rows)]))

    def _investigate(self, words: list[str]) -> object:
        found = session().investigate(words[0] if words else None)
        self._push("inv", found)
        return found

    def _suspects(self, words: list[str]) -> object:
        if not words:
            raise UsageError("%obsvty suspects needs a trace id.", hint="A trace id is 32 hex digits.")
        return session().suspects(words[0], span_id=words[1] if len(words) > 1 else None)

    def _context(self, words: list[str]) -> object:
        obs = session()
        return obs.context(obs.investigate(words[0] if words else None))

    def _egress(self, words: list[str]) -> object:
        ledger = session().egress
        return obsvty.notebook.display.LedgerView(
            tuple(ledger.entries(incident_id=words[0] if words else None))
        )

    @magic_arguments()
    @argument("-o", "--out", metavar="VAR", help="keep the result in this variable, as an Ibis table")
    @argument("sql", nargs="*", help="the query, for %%osql on one line")
    @line_cell_magic
    def osql(self, line: str, cell: str | None = None) -> object:
        """SQL over the telemetry tables: read-only and sandboxed."""
        arguments = parse_argstring(self.osql, line)
        query = cell if cell is not None else " ".join(arguments.sql)
        if not query.strip():
            raise UsageError("%%osql has no query.", hint="Write the SQL below %%osql.")
        table = session().sql(query)
        if arguments.out:
            self._push(str(arguments.out), table)
        return table

    def _push(self, name: str, value: object) -> None:
        if self.shell is not None:
            self.shell.push({name: value})


def _show_error(
    shell: InteractiveShell,
    kind: type[BaseException],
    error: BaseException,
    trace: types.TracebackType,
    tb_offset: int | None = None,
) -> list[str]:
    """What failed and what to do next; our own errors need no traceback."""
    del trace, tb_offset
    lines = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, lines)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] the hook's documented way out is print, which front ends do not mark as an error
    return lines


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics and rich reprs, and push the names. `%load_ext obsvty` ends here."""
    shell.register_magics(ObsvtyMagics)
    obsvty.notebook.display.register(shell)
    for name in NAMES:
        # never over something the user made, and not again when the extension is loaded twice
        shell.user_ns.setdefault(name, Pending(name))
        shell.user_ns_hidden.setdefault(name, shell.user_ns[name])
    shell.set_custom_exc((ObsvtyError,), _show_error)
    if not any(hook.__qualname__.startswith("_resolver.") for hook in shell.events.callbacks["pre_run_cell"]):
        shell.events.register("pre_run_cell", _resolver(shell))
