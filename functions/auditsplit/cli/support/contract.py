"""The contract of all commands: one error style, one set of exit codes, ``--output json``, and an example in the help.

`Program` is the class of the top-level group. It turns each error into ``error: …`` on standard error.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import orjson

from auditsplit.errors import in_words

FINDINGS, MISUSE, FAULT, INTERRUPTED = 1, 2, 70, 130
"""The exit codes besides 0: for findings, for misuse, for a fault of auditsplit itself, and after Ctrl-C."""

TRACEBACK = "AUDITSPLIT_TRACEBACK"
"""The variable that lets a fault of auditsplit itself print its traceback."""

CONTRACT = f"""\b
Exit codes:
  0    the command did what it was asked
  {FINDINGS}    there are findings, or a sink or server failed
  {MISUSE}    an argument, a file or a setting is wrong
  {FAULT}   auditsplit itself has a fault. {TRACEBACK}=1 shows where

Results go to standard output, messages to standard error. A message about an error begins with "error:". With --output
json, a command prints its results as one JSON document.

\b
Completion of commands and options, for the shell's startup file:
  bash   eval "$(_AUDITSPLIT_COMPLETE=bash_source auditsplit)"
  zsh    eval "$(_AUDITSPLIT_COMPLETE=zsh_source auditsplit)"
  fish   _AUDITSPLIT_COMPLETE=fish_source auditsplit | source

\b
Example:
  auditsplit check
"""
"""The end of the program's help."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Refused(click.ClickException):
    """Mistakes of the user, each of which is printed in its own line."""

    exit_code = MISUSE

    def __init__(self, mistakes: Sequence[str]) -> None:
        """Keep the mistakes."""
        super().__init__("\n".join(mistakes))


class Group(click.Group):
    """A group that proposes the nearest name for a mistyped command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` name, and the other arguments."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(unknown_command(name, self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)


class Program(Group):
    """The top-level group. Its errors have one style and one set of exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """Run the command, and exit."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            sys.exit(super().main(args, prog_name, complete_var, standalone_mode=False, **extra) or 0)
        except click.ClickException as error:
            _show(error)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("error: interrupted", err=True)
            sys.exit(INTERRUPTED)
        except Exception as error:  # noqa: BLE001 - users get a sentence, no traceback
            _exit_for(error)


def unknown_command(name: str, known: Sequence[str]) -> str:
    """Return the message about a command that does not exist."""
    near = nearest(name, known)
    advice = f"Did you mean {near}?" if near else f"The commands are {', '.join(known)}"
    return f"there is no command {name[:40]!r}. {advice}"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the name among ``known`` that ``name`` is most likely a mistyping of, or None."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.7)), None)


def reason(error: Exception) -> str:
    """Return the reason of an error without its number and class."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return "the file is not text in UTF-8"
    return in_words(str(error))


def about(path: str | Path, error: Exception) -> str:
    """Return the message about an error while ``path`` was read, with the other file that could not be read, if any."""
    other = error.filename if isinstance(error, OSError) else None
    within = f"{other}: " if other is not None and str(other) != str(path) else ""
    return f"{path}: {within}{reason(error)}"


def example(*lines: str) -> str:
    """Return the end of a command's help, which shows how to run it."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines)]) + "\n"


def output_option(command: _Command) -> _Command:
    """Add ``--output``. The command gets a true ``as_json`` for JSON."""
    return click.option(
        "--output",
        "as_json",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        callback=lambda _context, _option, value: value == "json",
        help="The format of the results.",
    )(command)


def print_json(results: Mapping[str, Any]) -> None:
    """Print the results as a JSON document."""
    click.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2).decode())


def _show(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    for line in error.format_message().splitlines():
        click.echo(f"error: {line}", err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"'{error.ctx.command_path} --help' shows the usage", err=True)


def _exit_for(error: Exception) -> NoReturn:
    """Print one sentence about an error that no command expected, and exit."""
    if os.environ.get(TRACEBACK):
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        click.echo(f"error: {error.filename}: {reason(error)}", err=True)
        sys.exit(MISUSE)
    click.echo(
        f"error: auditsplit has a fault: {type(error).__name__}. Run the command again with {TRACEBACK}=1, and report "
        "its output as an issue of the project. Remove secrets from it first",
        err=True,
    )
    sys.exit(FAULT)
