"""Executes one notebook and writes it with its outputs, if all goes well.

    python execute.py NOTEBOOK OUT [--cell-timeout S] [--timeout S] [--metadata JSON]

The exit code is 0, or 1 with a message on the error stream that names the cell. Whatever a cell does, the
program ends in time and its kernel with it.

Deno's kernel says that a cell has ended before it has sent all of the cell's outputs. nbclient stops to
listen at that message and would lose the rest, so this client listens on until nothing more comes.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionComplete,
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbclient.util import ensure_async

# The kernel sends its outputs in one go, 0.3 ms for each; a computer that is busy makes gaps.
QUIET_SECONDS = 0.1
START_SECONDS = 60
# An error's first lines say most.
TRACEBACK_LINES = 20


class Failure(Exception):
    """What went wrong, for people."""


class PatientClient(NotebookClient):
    """Takes a cell's outputs until they have stopped to come."""

    async def _async_poll_output_msg(self, parent_msg_id, cell, cell_index):
        # nbclient's method of that name, but for the end.
        has_ended = False
        while True:
            message = ensure_async(self.kc.iopub_channel.get_msg(timeout=None))
            try:
                message = await (
                    asyncio.wait_for(message, QUIET_SECONDS) if has_ended else message
                )
            except asyncio.TimeoutError:
                return
            if message["parent_header"].get("msg_id") != parent_msg_id:
                continue
            try:
                self.process_message(message, cell, cell_index)
            except CellExecutionComplete:
                has_ended = True


class Progress:
    """Says which cell is running, and knows it when something goes wrong."""

    def __init__(self, name, notebook):
        self.name = name
        self.cells = notebook.cells
        self.index = None
        self.start = 0.0
        self.error = {}

    def begin(self, cell, cell_index):
        # nbclient's hook: so are the two below.
        self.index = cell_index
        self.start = time.monotonic()

    def end(self, cell, cell_index, execute_reply):
        if execute_reply["content"]["status"] != "ok":
            return
        seconds = time.monotonic() - self.start
        self.say(f"cell {cell_index + 1} of {len(self.cells)}: {seconds:.1f} s")

    def fail(self, cell, cell_index, execute_reply):
        self.error = execute_reply["content"]

    def say(self, text):
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def place(self):
        """The cell that runs, with its first line."""
        if self.index is None:
            return "before the first cell"
        cell = self.cells[self.index]
        first = cell.source.strip().split("\n", 1)[0]
        return f'cell {self.index + 1} (id {cell.get("id")}: "{first}")'


async def execute(notebook, folder, progress, cell_timeout, timeout):
    """Fills in the outputs of a notebook, in a kernel whose working directory is `folder`."""
    interrupted = None

    def interrupt(reason):
        nonlocal interrupted
        interrupted = reason
        run.cancel()

    def listen_to_signals(notebook):
        # In place of nbclient's own, which leave the cell that runs waiting for a kernel that is gone.
        for number in (signal.SIGINT, signal.SIGTERM):
            if os.name != "nt":
                loop.add_signal_handler(number, interrupt, "was interrupted in")

    client = PatientClient(
        notebook,
        timeout=cell_timeout,
        startup_timeout=START_SECONDS,
        force_raise_errors=True,
        record_timing=False,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": folder}},
        on_notebook_start=listen_to_signals,
        on_cell_execute=progress.begin,
        on_cell_executed=progress.end,
        on_cell_error=progress.fail,
    )
    loop = asyncio.get_running_loop()
    run = asyncio.ensure_future(client.async_execute())
    watch = asyncio.ensure_future(until_orphaned())
    watch.add_done_callback(lambda _: interrupt("was left by its caller in"))
    loop.call_later(timeout, interrupt, f"did not end within {timeout:g} s: it was in")
    try:
        await run
    except CellTimeoutError:
        raise Failure(f"{progress.place()} did not end within {cell_timeout} s") from None
    except CellExecutionError:
        raise Failure(f"{progress.place()} failed: {explain(progress.error)}") from None
    except (DeadKernelError, asyncio.CancelledError):
        # nbclient takes the cancellation of a cell for the death of its kernel.
        if interrupted is not None:
            raise Failure(f"{interrupted} {progress.place()}") from None
        raise Failure(f"the kernel died in {progress.place()}") from None
    except RuntimeError as error:
        raise Failure(f"the kernel did not start: {error}") from None


async def until_orphaned():
    """Ends when the process that started this one has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)


def explain(error):
    """The error that the kernel answered with."""
    lines = "\n".join(error["traceback"]).strip().split("\n")[:TRACEBACK_LINES]
    if lines != [""]:
        return "\n  ".join(lines)
    if error["evalue"] == "Execution failed":
        # So the kernel answers to what it cannot parse.
        return "most likely a syntax error; deno task notebook:check says where"
    return f'{error["ename"]}: {error["evalue"]}'


def join_streams(cell):
    """Makes one output of what was printed in a row: the kernel sends every call of console.log."""
    joined = []
    for output in cell.outputs:
        last = joined[-1] if joined else None
        is_stream = output.output_type == "stream"
        if is_stream and last and last.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            joined.append(output)
    cell.outputs = joined


def write(notebook, path):
    """Writes a notebook in one step, so that an interruption leaves the old one."""
    temporary = f"{path}.{os.getpid()}"
    try:
        nbformat.write(notebook, temporary)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("notebook")
    parser.add_argument("out")
    parser.add_argument("--cell-timeout", type=int, default=300, help="seconds for a cell")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for the notebook")
    parser.add_argument("--metadata", help="JSON for the notebook's metadata.denoformers")
    options = parser.parse_args()
    path = os.path.abspath(options.notebook)
    notebook = nbformat.read(path, as_version=4)
    progress = Progress(os.path.basename(path), notebook)
    try:
        asyncio.run(
            execute(
                notebook,
                os.path.dirname(path),
                progress,
                options.cell_timeout,
                options.timeout,
            )
        )
    except Failure as failure:
        progress.say(str(failure))
        return 1
    for cell in notebook.cells:
        if cell.cell_type == "code":
            join_streams(cell)
    if options.metadata is not None:
        notebook.metadata["denoformers"] = json.loads(options.metadata)
    write(notebook, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
