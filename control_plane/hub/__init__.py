"""The agents' door. It speaks TLS 1.3 alone, which gRPC has one way to be told: by the environment, as it is imported.

The variable names the ciphers of TLS 1.2; those of 1.3 are always all there. The one that it names here is for RSA
keys, and ours are of P-256 (enrolment/authority.py): a client that offers no more than 1.2 finds nothing to agree on.
"""

import os

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"
