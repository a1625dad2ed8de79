"""The declarative base of every table."""

from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Carries the metadata that the migrated schema is compared with."""
