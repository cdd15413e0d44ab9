"""What others' tools read of a dataset folder: front matter of the Hugging Face hub, Croissant.

The front matter says of the card what it is about, and which file is the table: with it
``datasets.load_dataset(folder)`` loads the requests alone. Croissant
(https://docs.mlcommons.org/croissant, version 1.0) describes files and columns in JSON-LD.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

CROISSANT: Final = "croissant.json"
TAGS: Final = ("llm-serving", "scheduling", "inference-time", "edgecloud-gym")
# What a license may be called that the hub has an identifier for.
_LICENSES: Final = {
    name.casefold(): name.casefold()
    for name in (
        *("Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0"),
        *("CC0-1.0", "OpenRAIL", "Llama2", "Llama3", "Llama3.1", "Gemma", "ODC-By"),
    )
}
_SIZES: Final = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_TYPES: Final = {"string": "sc:Text", "double": "sc:Float", "int64": "sc:Integer"}
_MEANINGS: Final = {
    "request_text": "The prompt.",
    "model_name": "The model that answered.",
    "response_text": "The model's answer.",
    "device": "What it was computed on.",
    "finish_reason": "eos, or length where the answer was cut off.",
    "inference_time": "Time of the request alone, s.",
    "time_to_first_token": "The part of it until the first token, s.",
    "device_time": "The part of it that the device was busy, s.",
    "load_average": "Load of the machine, one minute, after the answer.",
    "input_token_count": "Tokens of the prompt.",
    "output_token_count": "Tokens of the answer.",
    "cached_tokens": "Tokens of the prompt that the server found in its cache.",
    "repeated_inference_times": "Times of further measurements of the prompt, s.",
    "family": "Which of the built-in set's families the prompt is of.",
}


def front_matter(name: str, license: str, requests: int) -> str:  # noqa: A002 # the option's name
    """Returns the front matter of a card, YAML between lines of three dashes.

    Args:
        name: The dataset's.
        license: Of the answers, perhaps with more behind a comma; one that the hub has no
            identifier for is told by its name.
        requests: How many there are.
    """
    known = _LICENSES.get(license.split(",")[0].strip().casefold())
    size = next((text for limit, text in _SIZES if requests < limit), "n>1M")
    lines = [
        f"pretty_name: {json.dumps(name)}",
        f"license: {known or 'other'}",
        *([] if known else [f"license_name: {json.dumps(license.strip())}"]),
        "task_categories:",
        "- text-generation",
        "size_categories:",
        f"- {size}",
        "tags:",
        *(f"- {tag}" for tag in TAGS),
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: requests.parquet",
    ]
    return "\n".join(["---", *lines, "---", "", ""])


def croissant(folder: Path, name: str, license: str, description: str) -> dict[str, Any]:  # noqa: A002
    """Returns a dataset folder's description as Croissant's JSON-LD.

    Args:
        folder: With ``requests.parquet`` and what else there is.
        name: The dataset's.
        license: Of the answers.
        description: In a sentence.
    """
    import pyarrow.parquet as pq

    described = [path for path in sorted(folder.iterdir()) if path.suffix in _FORMATS]
    files = [path for path in described if path.name != CROISSANT]
    table = pq.read_schema(folder / "requests.parquet")
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": license,
        "version": "1.0.0",
        "distribution": [_file(path) for path in files],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "requests",
                "name": "requests",
                "field": [_field(item) for item in table if str(item.type) in _TYPES],
            }
        ],
    }


_FORMATS: Final = {
    ".parquet": "application/x-parquet",
    ".npz": "application/zip",
    ".json": "application/json",
}
_TERMS: Final = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
_CONTEXT: Final = {  # the standard's own
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}


def _file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": _FORMATS[path.suffix],
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _field(item: Any) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"requests/{item.name}",
        "name": item.name,
        "description": _MEANINGS.get(item.name, item.name),
        "dataType": _TYPES[str(item.type)],
        "source": {
            "fileObject": {"@id": "requests.parquet"},
            "extract": {"column": item.name},
        },
    }
