"""Each tenant's own keys, and the platform's: what they seal, how they change, and how they are destroyed."""
