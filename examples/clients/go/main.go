// Leases lists the leases of an ipam-server and then watches them: leases [--once] [SOCKET]
//
// With --once it ends when it has told what is there. The code of the contract is made by `go generate`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example/leases/ipamv1"
)

//go:generate go run ./generate

func main() {
	once := flag.Bool("once", false, "end when it has told what is there")
	flag.Parse()
	socket := "/run/meta-cni/ipam.sock"
	if flag.NArg() > 0 {
		socket = flag.Arg(0)
	}
	if err := run(context.Background(), socket, *once); err != nil {
		fmt.Fprintln(os.Stderr, "leases:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, socket string, once bool) error {
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	leases := ipamv1.NewLeaseServiceClient(connection)
	if err := list(ctx, leases); err != nil || once {
		return err
	}
	return watch(ctx, leases)
}

func list(ctx context.Context, leases ipamv1.LeaseServiceClient) error {
	request := &ipamv1.ListLeasesRequest{}
	for {
		page, err := leases.ListLeases(ctx, request)
		if err != nil {
			return err
		}
		for _, lease := range page.Leases {
			tell("THERE", lease)
		}
		if page.NextPageToken == "" {
			return nil
		}
		request.PageToken = page.NextPageToken
	}
}

func watch(ctx context.Context, leases ipamv1.LeaseServiceClient) error {
	changes, err := leases.Watch(ctx, &ipamv1.WatchRequest{})
	if err != nil {
		return err
	}
	for {
		change, err := changes.Recv()
		if err != nil {
			return err
		}
		event := change.GetEvent()
		if event == nil {
			// Where to resume after a lost connection: after_revision.
			fmt.Println("UP-TO", change.GetBookmarkRevision())
			continue
		}
		subject := event.After
		if subject == nil {
			subject = event.Before
		}
		if lease := subject.GetLease(); lease != nil {
			tell(event.Type.String(), lease)
		}
	}
}

func tell(what string, lease *ipamv1.Lease) {
	owner := lease.GetOwner()
	fmt.Printf("%s %s %s %s %s/%s\n", what, lease.Id, lease.Ipv4, lease.Ipv6, owner.GetNamespace(), owner.GetPod())
}
