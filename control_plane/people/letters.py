"""What the letters to people say. Each that holds a token says what it is for, and until when."""

from control_plane.people.post import Letter

_UNASKED = "If you did not ask for this, do nothing: without the code nothing happens.\n"


def verify_address(to: str, public_url: str, token: str) -> Letter:
    """Return the letter that a new person answers."""
    text = (
        "Somebody, probably you, signed up to PenguinMails with this address.\n\n"
        f"Your code: {token}\n\n"
        f"Send it as `token` to {public_url}/api/v1/auth/verify-email within a day.\n\n{_UNASKED}"
    )
    return Letter(to, "Confirm your address", text)


def already_known(to: str, public_url: str) -> Letter:
    """Return the letter to somebody who is a person already and whose address was signed up again."""
    text = (
        "Somebody, probably you, signed up to PenguinMails with this address, which has an account already.\n\n"
        f"Log in at {public_url}/api/v1/auth/login, or have a new password sent by "
        f"{public_url}/api/v1/auth/password/forgot.\n\n"
        "If it was not you, do nothing: nothing was changed.\n"
    )
    return Letter(to, "You have an account already", text)


def reset_password(to: str, public_url: str, token: str) -> Letter:
    """Return the letter by which somebody sets a new password."""
    text = (
        "Somebody, probably you, asked for a new password for your PenguinMails account.\n\n"
        f"Your code: {token}\n\n"
        f"Send it as `token` to {public_url}/api/v1/auth/password/reset within an hour.\n\n{_UNASKED}"
    )
    return Letter(to, "Set a new password", text)


def password_changed(to: str) -> Letter:
    """Return the letter that tells of a new password."""
    text = (
        "The password of your PenguinMails account was changed, and other sessions were ended.\n\n"
        "If it was not you, ask for a new password at once.\n"
    )
    return Letter(to, "Your password was changed", text)


def invitation(to: str, public_url: str, token: str, tenant: str) -> Letter:
    """Return the letter that invites somebody into a tenant."""
    text = (
        f"You are invited to {tenant} on PenguinMails.\n\n"
        f"Your code: {token}\n\n"
        f"With an account: send it as `token` to {public_url}/api/v1/auth/invitations/accept.\n"
        f"Without one: sign up at {public_url}/api/v1/auth/sign-up with this address and the code as `invitation`.\n\n"
        f"It is good for a week, and for this address alone. {_UNASKED}"
    )
    return Letter(to, "You are invited", text)
