"""`textssl samples list` and `textssl samples get`: real text and labelled sets to start from."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from textssl.data import samples


def list_samples() -> list[dict[str, object]]:
    """Print every sample with its provenance and licence, and return the rows."""
    rows = samples.list_samples()
    table = Table(title="Samples", caption="The licence is what the package's own METADATA states.")
    for column in ("name", "kind", "records", "what", "package", "licence", "cached"):
        table.add_column(column, justify="right" if column == "records" else "left", overflow="fold")
    for row in rows:
        provenance = f"{row['package']} {row['version']}\n[dim]{row['member']}[/dim]"
        cells = [row["name"], row["kind"], _records(row["records"]), row["what"], provenance, row["licence"]]
        table.add_row(*map(str, cells), "yes" if row["cached"] else "no")
    Console().print(table)
    return rows


def get(name: str, out: str | Path | None = None) -> Path:
    """Fetch a sample, print where its files are, and return that folder.

    Without `out` the files stay in the cache, where `sample:NAME` finds them in every command.
    """
    folder = samples.get_sample(name, Path(out) if out is not None else None)
    name = name.removeprefix(samples.PREFIX).partition("/")[0]
    sample = samples.SAMPLES[name]
    console = Console(soft_wrap=True)
    if sample.kind == "model":
        console.print(f"{name}: {sample.what}, ready at {folder}")
    for part, count in sample.records.items() if sample.kind != "model" else ():
        console.print(f"{folder / samples.file_name(name, part)}: {count:,} records")
    wheel = sample.wheel
    console.print(f"from {wheel.package} {wheel.version}, which states the licence {wheel.licence}", highlight=False)
    return folder


def _records(counts: object) -> str:
    assert isinstance(counts, dict)
    return "\n".join(f"{part} {count:,}".strip() for part, count in counts.items()) if "model" not in counts else ""
