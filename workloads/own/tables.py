"""What a pilot file may say of a size of the user's own: ``[size.NAME]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bench.dims import AnyDims
from bench.errors import UsageError
from workloads import Own, Source
from workloads.own import files, folders, modules
from workloads.spec import FOLDER, DataName, RunTable, explain
from workloads.tables import TABLES, DecoderTable, DimsTable, Table, kind_of_dims

TEXTS = (".csv", ".parquet")
WEIGHTS = ("seeded", "minilm")
WHOLE: TypeAdapter[DimsTable] = TypeAdapter(DimsTable)


def _placed(path: str, info: ValidationInfo) -> str:
    """Relative to the pilot file."""
    return str(Path(info.context[FOLDER] if info.context else Path.cwd(), path))


def _of_rows(path: str) -> str:
    if not path.endswith(TEXTS):
        raise ValueError(f"it must end with {' or '.join(TEXTS)}")
    return path


def _weights(text: str, info: ValidationInfo) -> str:
    """A name as it is, a folder as its path."""
    if text in WEIGHTS:
        return text
    if "/" not in text:
        raise ValueError(f"input should be {', '.join(map(repr, WEIGHTS))} or a folder (my-bert/)")
    return _placed(text, info)


File = Annotated[str, Field(min_length=1), AfterValidator(_placed)]


class Labelled(Table):
    """Samples with one class each."""

    classes: list[str | int] | None = Field(
        None, description="the labels, in the order of the classes; else those found, sorted"
    )
    held_out: float = Field(
        0.2, gt=0, lt=1, description="share for testing, chosen by a hash of the content"
    )


class TextTable(Labelled):
    """Sentences in a table."""

    text: Annotated[File, AfterValidator(_of_rows)] = Field(
        description="a CSV or Parquet file with one sample a row"
    )
    tokenizer: File = Field(description="a tokenizer.json (of the library tokenizers)")
    text_column: str = "text"
    label_column: str = "label"

    def source(self) -> Own:
        columns = {"text_column": self.text_column, "label_column": self.label_column}
        options = {"format": Path(self.text).suffix, **columns, **_split(self)}
        return files.source("text", {"text": self.text, "tokenizer": self.tokenizer}, options)


class ImagesTable(Labelled):
    """Images, in files or as arrays."""

    images: File = Field(
        description="a folder with a folder of PNG or JPEG files for each class, or an NPZ file "
        "with the arrays images and labels"
    )

    def source(self) -> Own:
        kind = "arrays" if self.images.endswith(".npz") else "images"
        return files.source(kind, {"images": self.images}, _split(self))


class TokensTable(Table):
    """A text as one row of tokens."""

    tokens: File = Field(description="a flat binary file of whole numbers, or NPY")
    dtype: Literal["uint16", "int32", "uint32", "int64"] = Field(
        "uint16", description="of a flat file; NPY says its own"
    )
    held_out: float = Field(
        0.2, gt=0, lt=1, description="share for testing, chosen by a hash of the content"
    )

    def source(self) -> Own:
        flat = not self.tokens.endswith(".npy")
        options = {"dtype": self.dtype if flat else "", "held_out": self.held_out}
        return files.source("tokens", {"tokens": self.tokens}, options)


def _split(table: Labelled) -> dict[str, Any]:
    return {"classes": table.classes and [*map(str, table.classes)], "held_out": table.held_out}


KINDS: Mapping[str, type[Table]] = {
    "table of text": TextTable,
    "table of images": ImagesTable,
    "table of tokens": TokensTable,
}


def _kind(given: Any) -> str:
    """Which of the kinds ``data`` is meant to be."""
    for kind, table in KINDS.items():
        if isinstance(given, table):
            return kind
    if not isinstance(given, Mapping):
        return "name"
    if any(str(key) in ("tokens", "dtype") for key in given):
        return "table of tokens"
    images = any(str(key).startswith("image") for key in given)
    return "table of images" if images else "table of text"


Data = Annotated[
    Annotated[DataName, Tag("name")]
    | Annotated[TextTable, Tag("table of text")]
    | Annotated[ImagesTable, Tag("table of images")]
    | Annotated[TokensTable, Tag("table of tokens")],
    Discriminator(_kind),
]
FOR: Mapping[type[Any], tuple[str, ...]] = {
    TextTable: ("transformer",),
    ImagesTable: ("cnn",),
    TokensTable: ("decoder", "lora"),
}
"""Which models each kind of data is for; that of a name, ``workloads.materials`` knows."""


class CnnPart(Table):
    """What the weights do not say of a residual network; all of it where they say nothing."""

    image: PositiveInt | None = Field(None, description="pixels of an image's side")
    channels: PositiveInt | None = None
    classes: PositiveInt | None = None
    stem: Literal["3x3", "7x7"] | None = Field(None, description="7x7: ImageNet's, with pooling")
    widths: list[PositiveInt] | None = Field(None, description="channels of each stage")
    blocks: list[PositiveInt] | None = Field(None, description="residual blocks of each stage")
    bottleneck: bool | None = None
    bn_eps: PositiveFloat | None = None
    bn_momentum: PositiveFloat | None = Field(None, description="weight of the new batch")


class EncoderPart(Table):
    """What the weights do not say of an encoder; all of it where they say nothing."""

    vocab: PositiveInt | None = None
    positions: PositiveInt | None = Field(
        None, description="longest sequence that the weights allow"
    )
    types: PositiveInt | None = None
    layers: PositiveInt | None = None
    width: PositiveInt | None = None
    heads: PositiveInt | None = None
    ffn: PositiveInt | None = Field(None, description="width of the feed-forward layer")
    classes: PositiveInt | None = None
    sequence: PositiveInt | None = Field(None, description="tokens of a sample, padding included")
    ln_eps: PositiveFloat | None = None


PARTS: Mapping[str, type[Table]] = {
    "cnn": CnnPart,
    "transformer": EncoderPart,
    "decoder": DecoderTable,  # whose weights no folder brings yet
    "lora": DecoderTable,
}
"""What may be left out of each model's dims."""

DimsPart = Annotated[
    Annotated[CnnPart, Tag("cnn")]
    | Annotated[EncoderPart, Tag("transformer")]
    | Annotated[DecoderTable, Tag("decoder")],
    Discriminator(kind_of_dims),
]


class OwnSize(RunTable):
    """A size of the user's own: the model, data and weights that are to be bought for."""

    model: Literal["cnn", "transformer", "decoder", "lora", "module"]
    module: Annotated[str, AfterValidator(modules.named)] | None = Field(
        None, description="package.module:factory, your own code in PyTorch, of the model module"
    )
    path: File = Field(
        ".", validate_default=True, description="the folder that Python finds the package in"
    )
    data: Data = Field(
        "noise", description="the reference's by name, or a table with files of your own"
    )
    weights: Annotated[str, AfterValidator(_weights)] = Field(
        "seeded", description="seeded, minilm, or a folder with model.safetensors and config.json"
    )
    dims: DimsPart | None = Field(
        None, validate_default=True, description="may be left out as far as weights in a folder say"
    )

    @field_validator("dims", mode="before")
    @classmethod
    def _whole(cls, given: Any, info: ValidationInfo) -> Any:
        """Where no folder says any of them, none may be missing; a module has none."""
        if info.data.get("model") == modules.MODEL:
            return given
        if info.data.get("weights") in WEIGHTS:
            if given is None:
                raise PydanticCustomError("missing", "it is missing")
            WHOLE.validate_python(given)
        return given

    @model_validator(mode="after")
    def _of_the_model(self) -> OwnSize:
        if self.model == modules.MODEL:
            return self._of_a_module()
        if given := sorted({"module", "path"} & self.model_fields_set):
            raise ValueError(f"{given[0]} is for the model module")
        if self.dims and not isinstance(self.dims, PARTS[self.model]):
            raise ValueError(f"these dims are not those of a {self.model}")
        if self.model not in (meant := FOR.get(type(self.data), (self.model,))):
            raise ValueError(f"this data is for the model {' or '.join(meant)}")
        if isinstance(self.dims, DecoderTable):
            self._of_a_decoder(self.dims)
        return self

    def _of_a_decoder(self, dims: DecoderTable) -> None:
        if self.weights not in WEIGHTS:
            raise ValueError("weights in a folder are for the models cnn and transformer")
        if bool(dims.lora_rank) != (self.model == "lora"):
            raise ValueError("lora_rank is for the model lora, which needs it")

    def _of_a_module(self) -> OwnSize:
        """Its code says all that there is."""
        if not self.module:
            raise ValueError("module is missing: package.module:factory")
        for key in ("dims", "data", "weights"):
            if key in self.model_fields_set:
                raise ValueError(f"a module brings {key} of its own: leave {key} out")
        return self

    def data_source(self) -> Source:
        return self.data if isinstance(self.data, str) else self.data.source()

    def weights_source(self) -> Source:
        if self.weights in WEIGHTS:
            return self.weights
        return folders.source(Path(self.weights), self.model)

    def shapes(self, name: str) -> AnyDims:
        """With what the folder of the weights says. name: of the size, for the error."""
        if self.module:
            return modules.dims(self.module, Path(self.path))
        given = self.dims.model_dump(exclude_none=True) if self.dims else {}
        found = {} if self.weights in WEIGHTS else folders.dims(Path(self.weights), self.model)
        for key in given.keys() & found.keys():
            if given[key] != found[key]:
                raise UsageError(
                    f"[size.{name}.dims] {key} is {given[key]}, but {found[key]} in "
                    f"{self.weights}: leave it out"
                )
        kind = TABLES[self.model]
        try:
            whole = kind.model_validate({**found, **given})
        except ValidationError as error:
            at = f"[size.{name}.dims], with what {self.weights} says"
            raise UsageError(f"{at}{explain(error, kind, '')}") from error
        return whole.dims()
