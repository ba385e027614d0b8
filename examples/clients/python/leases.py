#!/usr/bin/env python3
"""Lists the leases of an ipam-server and then watches them: leases.py [SOCKET]

With --once it ends when it has told what is there. The code of the contract is generated from proto/ when it
starts; needs what requirements.txt names.
"""

import sys
import tempfile
from pathlib import Path

import grpc
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[3] / "proto"


def contract():
    """The generated modules of ipam.v1."""
    folder = tempfile.mkdtemp()
    files = [str(path.relative_to(PROTO)) for path in sorted(PROTO.glob("ipam/v1/*.proto"))]
    well_known = Path(protoc.__file__).parent / "_proto"
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *outputs, *files]) != 0:
        sys.exit("leases.py: the contract cannot be compiled")
    sys.path.insert(0, folder)
    from ipam.v1 import event_pb2, lease_service_pb2, lease_service_pb2_grpc

    return event_pb2, lease_service_pb2, lease_service_pb2_grpc


def tell(what, lease):
    owner = lease.owner
    print(what, lease.id, lease.ipv4, lease.ipv6, f"{owner.namespace}/{owner.pod}", flush=True)


def main():
    paths = [word for word in sys.argv[1:] if not word.startswith("--")]
    socket = paths[0] if paths else "/run/meta-cni/ipam.sock"
    event_pb2, messages, services = contract()
    # Without a name of its own, gRPC for Python sends the socket's path as the host, which is none to the server.
    options = [("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(f"unix://{socket}", options) as channel:
        leases = services.LeaseServiceStub(channel)
        token = ""
        while True:
            page = leases.ListLeases(messages.ListLeasesRequest(page_token=token))
            for lease in page.leases:
                tell("THERE", lease)
            token = page.next_page_token
            if not token:
                break
        if "--once" in sys.argv:
            return
        for change in leases.Watch(messages.WatchRequest()):
            if change.WhichOneof("message") == "bookmark_revision":
                # Where to resume after a lost connection: after_revision.
                print("UP-TO", change.bookmark_revision, flush=True)
                continue
            event = change.event
            subject = event.after if event.HasField("after") else event.before
            if subject.HasField("lease"):
                tell(event_pb2.EventType.Name(event.type), subject.lease)


if __name__ == "__main__":
    main()
