"""`jaxff config`: the default configuration of `jaxff train`, and its JSON schema."""

from __future__ import annotations

from typing import Annotated

import typer


def config(schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema instead.")] = False) -> None:
    """Print the default configuration as YAML: a start for `jaxff train --config`."""
    import json

    from jaxff.config import default_yaml
    from jaxff.config import schema as json_schema

    print(json.dumps(json_schema(), indent=2) if schema else default_yaml(), end="\n" if schema else "")
