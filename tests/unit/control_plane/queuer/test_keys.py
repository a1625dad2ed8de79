import uuid

from control_plane.queuer import keys

VPS = uuid.UUID("0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a")


def test_all_keys_of_a_server_share_its_prefix_and_hash_slot() -> None:
    assert keys.streams(VPS) == (f"pm:{{{VPS}}}:high", f"pm:{{{VPS}}}:normal", f"pm:{{{VPS}}}:low")
    assert keys.epoch(VPS) == f"pm:{{{VPS}}}:epoch"
    assert all(key.startswith(f"{keys.prefix(VPS)}:") for key in (*keys.streams(VPS), keys.epoch(VPS)))
