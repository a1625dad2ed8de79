"""Properties are tested without a deadline for their examples: what time something takes is no test here."""

from hypothesis import settings

# Otherwise as it is by default, which is another where continuous integration runs.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
