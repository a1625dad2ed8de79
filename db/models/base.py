"""What every table's model shares.

Models give code that is not hot a typed view of the rows, and a test compares them with the migrated schema. Checks,
policies and grants live in the migrations alone. Columns that hold secrets or whole messages are deferred: they are
read only where code names them, and the API role may not read them at all.
"""

import datetime as dt
import uuid
from typing import Annotated, Any, ClassVar

from sqlalchemy import DateTime, ForeignKey, inspect, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, mapped_column


class Base(DeclarativeBase):
    """The declarative base; a moment is always aware, in UTC."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dt.datetime: DateTime(timezone=True),
        bytes: BYTEA,
        dict[str, Any]: JSONB,
    }


RowId = Annotated[uuid.UUID, mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))]
TenantId = Annotated[uuid.UUID, mapped_column(ForeignKey("tenants.id"))]
CreatedAt = Annotated[dt.datetime, mapped_column(server_default=text("now()"))]


def columns_of(model: type[Base]) -> list[InstrumentedAttribute[Any]]:
    """Return what is loaded with a model, to select for lists: rows of it need no instances and no identity map."""
    return [getattr(model, column.key) for column in inspect(model).column_attrs if not column.deferred]
