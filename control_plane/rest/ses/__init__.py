"""Amazon SES's API (v2) as far as sending goes, for programs that speak it already."""
