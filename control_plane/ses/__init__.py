"""What Amazon SES (API v2) has and we have not: requests that are signed, and templates."""
