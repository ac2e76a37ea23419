"""Before the start: whether the secrets of sign-in providers are where the configuration says."""

from registry.config import Config, ConfigError


def check_providers(config: Config) -> None:
    """Raise ConfigError where a provider's secret cannot be read."""
    for provider in config.openid:
        where = f"client_secret_file of provider {provider.name!r}"
        try:
            secret = provider.secret()
        except OSError as error:
            raise ConfigError(f"{where} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{where} is not UTF-8 text") from error
        if provider.client_secret_file and not secret:
            raise ConfigError(f"{where} is empty")
