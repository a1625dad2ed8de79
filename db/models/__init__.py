from db.models.base import Base

metadata = Base.metadata
