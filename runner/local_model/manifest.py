"""Which weights the local model has, and the packages that carry them. Runs on: host."""

from importlib import resources

from pydantic import BaseModel, ConfigDict, PositiveInt

MODELS = ("qwen2.5-coder-1.5b-instruct",)
"""Names that a configuration may give as `model` where `type` is `local`."""

MEBIBYTE = 1024 * 1024


class ManifestModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(ManifestModel):
    """One wheel of the package index and the data file in it; the package is never imported."""

    package: str
    version: str
    member: str
    """Name of the data file within the wheel."""
    size: PositiveInt
    """Bytes of the data file."""
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


class Manifest(ManifestModel):
    """Weights that are the data files of `parts`, one after the other."""

    name: str
    title: str
    size: PositiveInt
    sha256: str
    download_size: PositiveInt
    """Bytes of all wheels together, which are a little smaller than what they hold."""
    parts: tuple[Part, ...]


def load_manifest(model: str = MODELS[0]) -> Manifest:
    """Return the packaged manifest of one of `MODELS`."""
    text = resources.files("runner.local_model").joinpath(f"{model}.json").read_text("utf-8")
    return Manifest.model_validate_json(text)


def megabytes(size: int) -> str:
    """Return a size for people, e.g. `1,066 MiB`."""
    return f"{size / MEBIBYTE:,.0f} MiB"
