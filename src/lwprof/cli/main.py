"""The command group: names its commands without importing them, and turns errors into one line."""

from __future__ import annotations

import importlib
import os
import sys

import click

from lwprof.errors import LwprofError

# command -> (module, one-line help shown without importing the module)
_COMMANDS = {
    "audit": ("lwprof.cli.audit", "Say which lightweight techniques pay on a device."),
    "compare": ("lwprof.cli.compare", "Measure two models interleaved and give a verdict."),
    "devices": ("lwprof.cli.devices", "List, show, add and check devices."),
    "fit": ("lwprof.cli.fit", "Fit the predictors of a device from what was measured on it."),
    "inspect": ("lwprof.cli.inspect", "Say what a model is before anything is measured."),
    "measure": ("lwprof.cli.measure", "Measure models and their kernels on a device."),
    "predict": (
        "lwprof.cli.predict",
        "Answer from tables and fitted predictors; touches no device.",
    ),
    "report": ("lwprof.cli.report", "Write an HTML report that opens offline."),
    "search": ("lwprof.cli.search", "Find architectures within limits on a device."),
    "prune": ("lwprof.cli.prune", "Remove channels until a model meets a budget on a device."),
    "store": ("lwprof.cli.store", "Info, import, export, migrate and merge of measurements."),
    "zoo": ("lwprof.cli.zoo", "List and build the networks we ship."),
}


class _LazyGroup(click.Group):
    """Loads a command's module when the command is called, so that ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="lwprof")
def cli(debug: bool) -> None:
    """Hardware-aware latency and energy profiler for neural networks.

    Example: lwprof measure mobilenet_v2 --device host
    """


def main(argv: list[str] | None = None) -> None:
    """Runs the command line; every failure is one line on stderr and an exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    try:
        code = cli.main(args=arguments, prog_name="lwprof", standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted; finished blocks are kept, and the same command resumes", 1)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(_usage_text(error), 2)
    except LwprofError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except RecursionError:
        if debug:
            raise
        _fail("the input is nested too deeply; check where it came from", 2)
    except MemoryError:
        if debug:
            raise
        _fail("out of memory; use a smaller model or batch", 1)
    except Exception as error:
        if debug:
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        _fail(f"unexpected failure ({text}); run again with --debug and report it", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_text(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "lwprof"
    return f"{' '.join(error.format_message().split())} (see '{path} --help')"


def _fail(text: str, code: int) -> None:
    click.echo(f"lwprof: {text}", err=True)
    sys.exit(code)
