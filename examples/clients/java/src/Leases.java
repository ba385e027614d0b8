// Lists the leases of an ipam-server and then watches them:
//
//   mvn compile
//   java -cp 'target/classes:target/lib/*' Leases [--once] [SOCKET]
//   java -cp 'target/classes:target/lib/*' Leases [--once] --tls-ca FILE [--tls-cert FILE --tls-key FILE] HOST:PORT
//
// With --once it ends after the list.

import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import ipam.v1.EventOuterClass.Event;
import ipam.v1.LeaseServiceGrpc;
import ipam.v1.LeaseServiceOuterClass.ListLeasesRequest;
import ipam.v1.LeaseServiceOuterClass.ListLeasesResponse;
import ipam.v1.LeaseServiceOuterClass.WatchRequest;
import java.io.File;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

public final class Leases {
  public static void main(String[] arguments) throws IOException {
    Map<String, String> options = new HashMap<>();
    boolean once = false;
    String address = "/run/meta-cni/ipam.sock";
    for (int i = 0; i < arguments.length; i++) {
      switch (arguments[i]) {
        case "--once" -> once = true;
        case "--tls-ca", "--tls-cert", "--tls-key" -> options.put(arguments[i], arguments[++i]);
        default -> address = arguments[i];
      }
    }
    ManagedChannel channel = options.containsKey("--tls-ca") ? overTls(address, options) : overSocket(address);
    list(channel);
    if (!once) {
      watch(channel);
    }
    channel.shutdownNow();
  }

  private static ManagedChannel overSocket(String path) {
    // The sockets of Linux are in grpc-netty and grpc-netty-shaded only.
    return Grpc.newChannelBuilder("unix:" + path, InsecureChannelCredentials.create()).build();
  }

  private static ManagedChannel overTls(String address, Map<String, String> options) throws IOException {
    TlsChannelCredentials.Builder credentials = TlsChannelCredentials.newBuilder();
    credentials.trustManager(new File(options.get("--tls-ca")));
    if (options.containsKey("--tls-cert")) {
      credentials.keyManager(new File(options.get("--tls-cert")), new File(options.get("--tls-key")));
    }
    return Grpc.newChannelBuilder(address, credentials.build()).build();
  }

  private static void list(Channel channel) {
    LeaseServiceGrpc.LeaseServiceBlockingStub leases = LeaseServiceGrpc.newBlockingStub(channel);
    String token = "";
    do {
      ListLeasesResponse page = leases.listLeases(ListLeasesRequest.newBuilder().setPageToken(token).build());
      page.getLeasesList().forEach(lease -> print("THERE", lease));
      token = page.getNextPageToken();
    } while (!token.isEmpty());
  }

  private static void watch(Channel channel) {
    LeaseServiceGrpc.newBlockingStub(channel)
        .watch(WatchRequest.getDefaultInstance())
        .forEachRemaining(
            change -> {
              if (change.hasBookmarkRevision()) {
                // Where to resume after a lost connection: after_revision.
                System.out.println("UP-TO " + change.getBookmarkRevision());
                return;
              }
              Event event = change.getEvent();
              var subject = event.hasAfter() ? event.getAfter() : event.getBefore();
              if (subject.hasLease()) {
                print(event.getType().name(), subject.getLease());
              }
            });
  }

  private static void print(String what, ipam.v1.LeaseOuterClass.Lease lease) {
    var owner = lease.getOwner();
    System.out.printf(
        "%s %s %s %s %s/%s%n",
        what, lease.getId(), lease.getIpv4(), lease.getIpv6(), owner.getNamespace(), owner.getPod());
  }
}
