#!/usr/bin/env node
// Lists the leases of an ipam-server and then watches them:
//
//   npm ci
//   node leases.js [--once] [SOCKET]
//   node leases.js [--once] --tls-ca FILE [--tls-cert FILE --tls-key FILE] HOST:PORT
//
// With --once it ends after the list. The contract is read from proto/ when it starts.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { parseArgs } = require("node:util");

const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const PROTO = path.resolve(__dirname, "../../../proto");

function connect(address, options) {
  // defaults: a field that the server leaves out, such as an empty list, is not undefined.
  const files = { includeDirs: [PROTO], keepCase: true, longs: String, enums: String, oneofs: true, defaults: true };
  const definition = protoLoader.loadSync("ipam/v1/lease_service.proto", files);
  const { LeaseService } = grpc.loadPackageDefinition(definition).ipam.v1;
  if (!options["tls-ca"]) {
    // With unix: gRPC for Node sends "localhost" as the host.
    return new LeaseService(`unix:${address}`, grpc.credentials.createInsecure());
  }
  const [ca, key, cert] = ["tls-ca", "tls-key", "tls-cert"].map((name) => options[name] && fs.readFileSync(options[name]));
  return new LeaseService(address, grpc.credentials.createSsl(ca, key, cert));
}

async function list(leases) {
  let token = "";
  do {
    const page = await new Promise((resolve, reject) => {
      leases.ListLeases({ page_token: token }, (error, page) => (error ? reject(error) : resolve(page)));
    });
    page.leases.forEach((lease) => print("THERE", lease));
    token = page.next_page_token;
  } while (token);
}

async function watch(leases) {
  for await (const change of leases.Watch({})) {
    if (change.message === "bookmark_revision") {
      // Where to resume after a lost connection: after_revision.
      console.log("UP-TO", change.bookmark_revision);
      continue;
    }
    const { type, after, before } = change.event;
    const { lease } = after ?? before;
    if (lease) {
      print(type, lease);
    }
  }
}

function print(what, lease) {
  const { namespace, pod } = lease.owner ?? {};
  console.log(what, lease.id, lease.ipv4, lease.ipv6, `${namespace ?? ""}/${pod ?? ""}`);
}

async function main() {
  const file = { type: "string" };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { once: { type: "boolean" }, "tls-ca": file, "tls-cert": file, "tls-key": file },
  });
  const leases = connect(positionals[0] ?? "/run/meta-cni/ipam.sock", values);
  await list(leases);
  if (!values.once) {
    await watch(leases);
  }
  leases.close();
}

main().catch((error) => {
  console.error("leases.js:", error.message);
  process.exitCode = 1;
});
