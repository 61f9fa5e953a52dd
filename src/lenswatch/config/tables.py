"""The tables of config.toml: a frozen dataclass each, its fields the keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from lenswatch.config.values import (
    AtLeast1,
    AtLeast2,
    Days,
    Duration,
    FolderPath,
    Host,
    Images,
    NotNegative,
    NotNegativeNumber,
    Number,
    OptionalFile,
    Origin,
    Port,
    PositiveNumber,
    SampleBits,
    Secret,
    Share,
    Side,
    UrlPath,
    Website,
    Workers,
)


@dataclass(frozen=True)
class TransformConfig:
    """Conversion of a picture to the encoder's input."""

    resize: tuple[Side, Side] = (216, 384)  # height, width
    mean: tuple[Number, Number, Number] = (0.485, 0.456, 0.406)
    std: tuple[PositiveNumber, PositiveNumber, PositiveNumber] = (0.229, 0.224, 0.225)
    sample_bits: SampleBits = 0  # used by the camera, of 16; 0 lets training find out


@dataclass(frozen=True)
class CameraConfig:
    """The cameras whose pictures arrive, and their clocks."""

    collect: Duration = ""  # a node without a reference collects clean pictures for so long
    timezone: str = ""  # an IANA name; "" for the zone of this machine

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of stamps without offset; None for that of this machine."""
        return ZoneInfo(self.timezone) if self.timezone else None


@dataclass(frozen=True)
class CameraStateConfig:
    """Pictures that show the camera clean and dirty."""

    folder: FolderPath = "images"  # under storage.path, unless absolute
    clean: tuple[str, ...] = ("clean/*",)
    dirty: tuple[str, ...] = ("dirty/*",)


@dataclass(frozen=True)
class EncoderConfig:
    """The autoencoder and its training."""

    latent_dim: AtLeast2 = 32
    epochs: AtLeast1 = 30
    batch_size: AtLeast1 = 16
    learning_rate: PositiveNumber = 2e-3
    sparsity_weight: NotNegativeNumber = 1e-4
    patience: AtLeast1 = 6  # epochs without progress before training stops
    validation_share: Share = 0.2  # the last part of the pictures, by time
    seed: NotNegative = 0
    threads: AtLeast1 = 1  # one gives the same weights on any number of cores
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # "auto": a GPU if there is one


@dataclass(frozen=True)
class DetectorConfig:
    """The MMD detector."""

    window_size: AtLeast2 = 12
    sigma: Literal["median"] | PositiveNumber = "median"
    warm_start: bool = True
    reference_samples: NotNegative = 0  # that stand for all clean embeddings; 0 for all of them


@dataclass(frozen=True)
class AlarmConfig:
    """The rule that turns distances and lens scores into a verdict."""

    verdict: Literal["either", "mmd", "chart"] = "either"  # statistics that may raise drift
    expected_run_time: Images = 200.0
    frozen: Literal["warning", "drift"] = "warning"  # what a frozen camera is
    baseline: Literal["daily", "fixed"] = (
        "daily"  # "daily": renewed from the camera's quiet pictures
    )
    warning_distance: Number | None = None
    drift_distance: Number | None = None


@dataclass(frozen=True)
class UploadConfig:
    """Limits of the pictures that are read: uploads, and files from a folder."""

    max_bytes: AtLeast1 = 32 * 2**20
    max_pixels: AtLeast1 = 64_000_000
    max_decode_bytes: AtLeast1 = 300 * 2**20
    timeout: PositiveNumber = 300.0  # seconds that a worker process may take to judge one upload


@dataclass(frozen=True)
class StorageConfig:
    """The node's own storage."""

    path: FolderPath = "storage"
    database: str = ""  # a SQLAlchemy URL of PostgreSQL, for replicas; "" for node.db in the folder
    archive: FolderPath = "auto"  # a folder on a remote disk, "off", or "auto" for AI4OS' mount
    archive_minutes: PositiveNumber = 10.0
    demo_reference: OptionalFile = ""  # that a node without any shows; an exported reference
    keep_images: bool = True
    max_bytes: AtLeast1 = 2_000_000_000  # of the drift jobs and pictures that wait to be sent
    keep_originals: Literal["off", "drift", "all"] = "off"  # "drift": and warnings
    originals_max_bytes: AtLeast1 = 5_000_000_000


@dataclass(frozen=True)
class TrackingConfig:
    """The tracking server that drift jobs are sent to. An empty url sends none."""

    url: str = "http://127.0.0.1:5001"
    api_version: str = "latest"
    experiment: str = "lenswatch"
    description: str = ""
    public: bool = False
    tags: tuple[str, ...] = ()
    auth: Literal["none", "mytoken", "token"] = "none"
    token: Secret = field(default="", repr=False)  # an API key or access token
    timeout: PositiveNumber = 10.0  # seconds


@dataclass(frozen=True)
class AuthConfig:
    """Authentication of the tracking server's users."""

    mode: Literal["none", "keys", "oidc"] = "none"
    issuers: tuple[str, ...] = ()
    audience: str = ""
    entitlements_path: str = "realm_access/roles"
    user_entitlements: tuple[str, ...] = ()
    admin_entitlements: tuple[str, ...] = ()
    client_id: str = ""
    client_secret: Secret = field(default="", repr=False)


@dataclass(frozen=True)
class AlertsConfig:
    """Messages of the tracking server."""

    public_url: Website = ""  # of the server, for links; "" for its own address
    private_hosts: tuple[str, ...] = ()  # names, addresses or networks that channels may reach
    smtp_host: str = ""  # "" sends no e-mail
    smtp_port: Port = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password: Secret = field(default="", repr=False)
    mail_from: str = ""


@dataclass(frozen=True)
class RetentionConfig:
    """Deletion by the tracking server itself, where an experiment does not say otherwise. 0: nothing."""

    jobs_days: Days = 0.0  # since a job arrived
    jobs_bytes: NotNegative = 0  # of an experiment's jobs; the oldest go first
    pictures_days: Days = 0.0
    drift_pictures_days: Days = 0.0  # of jobs with drift; never shorter than `pictures_days`
    pictures_bytes: NotNegative = 0  # the oldest without drift go first
    running_hours: Days = 1.0  # after which a job that is still Running is closed as Failed


@dataclass(frozen=True)
class ServerConfig:
    """The tracking server."""

    host: Host = "127.0.0.1"
    port: Port = 5001
    database: Secret = field(default="", repr=False)  # SQLAlchemy URL, which may hold a password
    workers: Workers = 1
    root_path: UrlPath = ""
    max_body_bytes: AtLeast1 = 8 * 2**20
    cors_origins: tuple[Origin, ...] = ()
    log_level: Literal["debug", "info", "warning"] = "warning"  # "info": a line for each request
    auth: AuthConfig = field(default_factory=AuthConfig)
    alerts: AlertsConfig = field(default_factory=AlertsConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)


@dataclass(frozen=True)
class Config:
    """All settings.

    Attributes:
        root: Folder of `file`, else the working directory. Relative paths start here.
        file: The configuration file that was read, if any.
    """

    transform: TransformConfig = field(default_factory=TransformConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    camera_state: CameraStateConfig = field(default_factory=CameraStateConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    alarm: AlarmConfig = field(default_factory=AlarmConfig)
    upload: UploadConfig = field(default_factory=UploadConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    root: Path = field(default=Path(), metadata={"key": False})
    file: Path | None = field(default=None, metadata={"key": False})

    @cached_property
    def storage_path(self) -> Path:
        """The storage folder, absolute."""
        return (self.root / self.storage.path).resolve()

    @property
    def image_folder(self) -> Path:
        """The folder that `camera_state` patterns start from, absolute."""
        return (self.storage_path / self.camera_state.folder).resolve()

    @property
    def database_url(self) -> str:
        """The tracking server's SQLAlchemy URL."""
        return self.server.database or f"sqlite:///{self.storage_path / 'server.db'}"
