"""The record of who did what in a tenant, as a chain that shows what was altered or taken away."""
