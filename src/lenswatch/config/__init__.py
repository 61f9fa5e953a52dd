"""Settings: config.toml and LENSWATCH_* variables, read into frozen dataclasses.

Each dataclass is a table. Its fields are the keys, with their types, limits and defaults.
`docs/configuration.md` describes every key; a test compares the two.
"""

from lenswatch.config.conversion import check_settings
from lenswatch.config.reading import load_config, setting_names
from lenswatch.config.tables import (
    AlarmConfig,
    AlertsConfig,
    AuthConfig,
    CameraConfig,
    CameraStateConfig,
    Config,
    DetectorConfig,
    EncoderConfig,
    RetentionConfig,
    ServerConfig,
    StorageConfig,
    TrackingConfig,
    TransformConfig,
    UploadConfig,
)
from lenswatch.config.values import SampleBits

__all__ = [
    "AlarmConfig",
    "AlertsConfig",
    "AuthConfig",
    "CameraConfig",
    "CameraStateConfig",
    "Config",
    "DetectorConfig",
    "EncoderConfig",
    "RetentionConfig",
    "SampleBits",
    "ServerConfig",
    "StorageConfig",
    "TrackingConfig",
    "TransformConfig",
    "UploadConfig",
    "check_settings",
    "load_config",
    "setting_names",
]
