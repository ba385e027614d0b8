// Leases lists the leases of an ipam-server and then watches them:
//
//	leases [--once] [SOCKET]
//	leases [--once] --tls-ca FILE [--tls-cert FILE --tls-key FILE] HOST:PORT
//
// With --once it ends after the list. The code of the contract is made by `go generate`.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"example/leases/ipamv1"
)

//go:generate go run ./generate

// files holds the PEM files of a connection over TLS; without ca it is a unix socket.
type files struct{ ca, cert, key string }

func main() {
	var files files
	once := flag.Bool("once", false, "end after the list")
	flag.StringVar(&files.ca, "tls-ca", "", "authorities of the server")
	flag.StringVar(&files.cert, "tls-cert", "", "certificate of this client")
	flag.StringVar(&files.key, "tls-key", "", "key of the certificate")
	flag.Parse()
	address := "/run/meta-cni/ipam.sock"
	if flag.NArg() > 0 {
		address = flag.Arg(0)
	}
	if err := run(context.Background(), address, files, *once); err != nil {
		fmt.Fprintln(os.Stderr, "leases:", err)
		os.Exit(1)
	}
}

func connect(address string, files files) (*grpc.ClientConn, error) {
	if files.ca == "" {
		// With unix: gRPC for Go sends "localhost" as the host.
		return grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	authorities, err := os.ReadFile(files.ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("%s holds no certificate", files.ca)
	}
	if files.cert != "" {
		pair, err := tls.LoadX509KeyPair(files.cert, files.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
}

func run(ctx context.Context, address string, files files, once bool) error {
	connection, err := connect(address, files)
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
			show("THERE", lease)
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
			show(event.Type.String(), lease)
		}
	}
}

func show(what string, lease *ipamv1.Lease) {
	owner := lease.GetOwner()
	fmt.Printf("%s %s %s %s %s/%s\n", what, lease.Id, lease.Ipv4, lease.Ipv6, owner.GetNamespace(), owner.GetPod())
}
