"""How it stands with the certificate of an authority, by name: reported as it is, and shown to people."""

import enum


class State(enum.StrEnum):
    """Each comes with a sentence of its own in `Status.detail`."""

    #: No authority is set: the server shows a certificate that it has signed itself.
    SELF_SIGNED = "self_signed"
    #: A certificate is wanted, and the control plane is to have port 80 opened for it first.
    WAITING_FOR_PORT = "waiting_for_port"
    #: The authority is being asked.
    ASKING = "asking"
    #: The server shows a certificate of the authority.
    ISSUED = "issued"
    #: The authority does not answer, or answers that it is out of order.
    UNREACHABLE = "unreachable"
    #: The authority limits us; nothing is asked before it allows it.
    LIMITED = "limited"
    #: The authority looked and will not issue, such as for a name that does not lead here.
    REFUSED = "refused"
    #: As many attempts as a day may have were made.
    SPENT = "spent"
    #: A certificate was issued, and the mail server did not take it up; the one before is back.
    NOT_TAKEN = "not_taken"
    #: It could not even be asked, such as when port 80 is taken.
    FAILED = "failed"
