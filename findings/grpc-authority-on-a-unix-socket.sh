#!/usr/bin/env bash
# gRPC clients on a unix socket do not agree on the host that they name (:authority): Go with a unix: target sends
# localhost; the C core (here Python's) sends the socket's path, percent-encoded and without its first slash; Go with a
# dialer of its own sends the whole path, percent-encoded. HTTP libraries that read a host and a port there, such as
# Rust's http, refuse the last two.
set -euo pipefail

go_version=v1.85.0
python_version=1.85.1
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

func say(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	names, _ := metadata.FromIncomingContext(ctx)
	fmt.Println(names.Get(":authority")[0])
	return handle(ctx, request)
}

func ask(target string, options ...grpc.DialOption) {
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	connection, err := grpc.NewClient(target, options...)
	if err != nil {
		panic(err)
	}
	if _, err := healthpb.NewHealthClient(connection).Check(context.Background(), &healthpb.HealthCheckRequest{}); err != nil {
		panic(err)
	}
}

func main() {
	socket := os.Args[2]
	switch os.Args[1] {
	case "serve":
		listener, err := net.Listen("unix", socket)
		if err != nil {
			panic(err)
		}
		server := grpc.NewServer(grpc.UnaryInterceptor(say))
		healthpb.RegisterHealthServer(server, health.NewServer())
		panic(server.Serve(listener))
	case "unix":
		ask("unix:" + socket)
	case "dialer":
		ask("passthrough:///"+socket, grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}))
	}
}
GO
cat >go.mod <<MOD
module finding

go 1.26

require google.golang.org/grpc $go_version
MOD
go mod tidy 2>/dev/null
go build -o finding .
cat >check.py <<'PYTHON'
import sys
import grpc

with grpc.insecure_channel(f"unix://{sys.argv[1]}") as channel:
    # An empty HealthCheckRequest is no bytes.
    channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=30)
PYTHON
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check "grpcio==$python_version"

socket=$work/s
./finding serve "$socket" >authorities &
server=$!
until [[ -S $socket ]]; do sleep 0.05; done
./finding unix "$socket"
python/bin/python check.py "$socket"
./finding dialer "$socket"

wrong=0
# expect LINE CLIENT VALUE: what the server was named by its LINEth caller.
expect() {
    local named
    named=$(sed -n "$1p" authorities)
    echo "$2: :authority is ${named//$work/FOLDER}"
    [[ $named == "$3" ]] || {
        echo "CHANGED: not $3"
        wrong=1
    }
}
expect 1 "grpc-go $go_version, unix:PATH" localhost
path=${socket#/}
expect 2 "grpcio $python_version, unix://PATH" "${path//\//%2F}"
expect 3 "grpc-go $go_version, a dialer of its own" "${socket//\//%2F}"
exit $wrong
