"""Debian packages that the machine needs to run local servers; no imports, so that any python3 can read it."""

HOST_PACKAGES: tuple[str, ...] = ("iproute2", "mmdebstrap", "systemd-container", "util-linux")
