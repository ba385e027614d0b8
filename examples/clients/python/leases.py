#!/usr/bin/env python3
"""Lists the leases of an ipam-server and then watches them:

    leases.py [--once] [SOCKET]
    leases.py [--once] --tls-ca FILE [--tls-cert FILE --tls-key FILE] HOST:PORT

With --once it ends after the list. The code of the contract is generated from proto/ when it starts; needs what
requirements.txt names.
"""

import argparse
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


def connect(address, options):
    if not options.tls_ca:
        return grpc.insecure_channel(f"unix://{address}")

    def read(file):
        return file and file.read_bytes()

    identity = {"private_key": read(options.tls_key), "certificate_chain": read(options.tls_cert)}
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(read(options.tls_ca), **identity))


def show(what, lease):
    owner = lease.owner
    print(what, lease.id, lease.ipv4, lease.ipv6, f"{owner.namespace}/{owner.pod}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address", nargs="?", default="/run/meta-cni/ipam.sock")
    parser.add_argument("--once", action="store_true")
    for name in ("--tls-ca", "--tls-cert", "--tls-key"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    event_pb2, messages, services = contract()
    with connect(options.address, options) as channel:
        leases = services.LeaseServiceStub(channel)
        token = ""
        while True:
            page = leases.ListLeases(messages.ListLeasesRequest(page_token=token))
            for lease in page.leases:
                show("THERE", lease)
            token = page.next_page_token
            if not token:
                break
        if options.once:
            return
        for change in leases.Watch(messages.WatchRequest()):
            if change.WhichOneof("message") == "bookmark_revision":
                # Where to resume after a lost connection: after_revision.
                print("UP-TO", change.bookmark_revision, flush=True)
                continue
            event = change.event
            subject = event.after if event.HasField("after") else event.before
            if subject.HasField("lease"):
                show(event_pb2.EventType.Name(event.type), subject.lease)


if __name__ == "__main__":
    main()
