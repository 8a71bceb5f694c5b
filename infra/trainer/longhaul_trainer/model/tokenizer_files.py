"""What an export takes over from the folder of its tokenizer, so that `transformers` of today and of before read the same.

`transformers` 5 keeps the chat template in chat_template.jinja, names its own tokenizer class, and leaves lists of special
tokens out that older ones read; 4.46 reads tokenizer_config.json alone. An export has both forms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from longhaul_trainer.model.config import json_bytes

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION = "generation_config.json"
TEMPLATE = "chat_template.jinja"
MORE_TEMPLATES = "additional_chat_templates/"

REQUIRED = (TOKENIZER, TOKENIZER_CONFIG)
OPTIONAL = (GENERATION, TEMPLATE, "special_tokens_map.json")

_LOADING = ("backend", "is_local", "local_files_only", "name_or_path")
"""How somebody loaded the tokenizer once: nothing about the tokenizer."""


def is_tokenizer_file(name: str) -> bool:
    """Whether an export needs this file of a model folder."""
    return name in (*REQUIRED, *OPTIONAL) or (name.startswith(MORE_TEMPLATES) and name.endswith(".jinja"))


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError that names the file."""
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    return value


def tokenizer_files(folder: Path, length: int) -> dict[str, bytes]:
    """The tokenizer's files of an export, by name. `length`: tokens that the model is made for.

    Raises ValueError when a file is not what its name says.
    """
    settings = {key: value for key, value in read_object(folder, TOKENIZER_CONFIG).items() if key not in _LOADING}
    settings["model_max_length"] = length
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    more = settings.pop("extra_special_tokens", None)
    if isinstance(more, list):
        settings.setdefault("additional_special_tokens", more)
    elif more is not None:
        settings["extra_special_tokens"] = more
    files = {TOKENIZER: _uncut(folder)}
    template = _chat_template(folder, settings.pop("chat_template", None))
    if template is not None:
        settings["chat_template"] = template
    if isinstance(template, str):
        files[TEMPLATE] = template.encode()
    files[TOKENIZER_CONFIG] = json_bytes(settings)
    tokens = folder / "special_tokens_map.json"
    if tokens.exists():
        files[tokens.name] = tokens.read_bytes()
    return files


def _uncut(folder: Path) -> bytes:
    """tokenizer.json without the truncation and padding that somebody had switched on when it was saved."""
    data = (folder / TOKENIZER).read_bytes()
    value = read_object(folder, TOKENIZER)
    if value.get("truncation") is None and value.get("padding") is None:
        return data
    return json.dumps(value | {"truncation": None, "padding": None}, ensure_ascii=False, indent=2).encode()


def _chat_template(folder: Path, configured: object) -> str | list[dict[str, str]] | None:
    """The template, or named ones: of the files where there are any, as `transformers` itself decides."""
    single, named = folder / TEMPLATE, sorted((folder / MORE_TEMPLATES).glob("*.jinja"))
    templates = {"default": single} if single.exists() else {}
    templates |= {file.stem: file for file in named}
    if set(templates) == {"default"}:
        return single.read_text(encoding="utf-8")
    if templates:
        return [{"name": name, "template": file.read_text(encoding="utf-8")} for name, file in templates.items()]
    if configured is None or isinstance(configured, str):
        return configured
    if isinstance(configured, list) and all(_is_named_template(one) for one in configured):
        return configured
    raise ValueError(f"{TOKENIZER_CONFIG}: chat_template is neither a text nor a list of named ones")


def _is_named_template(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("name", "template"))


def token_ids(folder: Path, tokens: Iterable[str]) -> list[int]:
    """Ids of those of the tokens that the tokenizer has added to its vocabulary, ascending."""
    added = read_object(folder, TOKENIZER).get("added_tokens", [])
    wanted = set(tokens)
    return sorted({int(token["id"]) for token in added if token["content"] in wanted})


def end_of_text(folder: Path) -> str | None:
    """The token that tokenizer_config.json names as the end of a text."""
    token = read_object(folder, TOKENIZER_CONFIG).get("eos_token")
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
