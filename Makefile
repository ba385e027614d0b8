# The only entry point: people and CI call the same targets. `make` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
RELEASE := $(CURDIR)/target/$(TARGET)/release
DEMO := $(CURDIR)/target/$(TARGET)/demo
TOOLS := $(CURDIR)/target/tools
RUNGS := unit fuzz harness builtin conformance delegates faults kubernetes agent doctor runtime storm ipam damage replicas security clients demo kernel

# Which executables the tests run: `release`, or `dev`, which are built with the tests at once and checked for overflows. CI takes
# the latter: half of the compiler's time.
PROFILE ?= release
export META_CNI_BIN_DIR ?= $(if $(filter dev,$(PROFILE)),$(CURDIR)/target/$(TARGET)/debug,$(RELEASE))
# What install.sh puts there are programs that the machine lacks.
export PATH := $(PATH):$(TOOLS)/bin

# The release before this one: a tag, or a commit as long as none is tagged.
PREVIOUS ?= b96dcf3

.PHONY: help build build-demo demo cluster cluster-stop test lint image release fetch manifests lint-deploy validate-chart bench bench-attach bench-ipam bench-agent bench-etcd bench-cluster sim test-cluster test-previous docs book flags rpcs crds architecture audit musl tools tools-ahead clean $(RUNGS:%=test-%)

help: ## This list
	@awk -F ':.*## ' '/^[a-z%$$][^:]*:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## The executables, static, in target/<host>/release; with PROFILE=dev those of the tests, in target/<host>/debug
ifeq ($(PROFILE),dev)
	cargo build --locked --workspace --exclude fuzz --bins --tests
else
	@[[ -x $(RELEASE)/ipamctl ]] || tests/tools/announce-build.sh 46
	cargo build --release --locked --package meta-cni --package meta-cnid --package ipam-server --package ipamctl --bins
endif

demo: ## Two pods with three interfaces each, no cluster needed (root)
	@[[ $$EUID == 0 ]] || { echo "demo: it makes network namespaces, so run it as root" >&2; exit 1; }
	@tests/tools/install.sh packages
	@if [[ -x $(RELEASE)/ipamctl ]]; then $(MAKE) --no-print-directory build && examples/demo.sh; \
	else $(MAKE) --no-print-directory build-demo && META_CNI_BIN_DIR=$(DEMO) examples/demo.sh; fi

build-demo: # The executables without optimisation: half the time of `build`
	@[[ -x $(DEMO)/ipamctl ]] || tests/tools/announce-build.sh 8
	cargo build --profile demo --locked --package meta-cni --package meta-cnid --package ipam-server --package ipamctl --bins

cluster: ## A real cluster of one node with meta-cni in it, which stays; again: what you changed (root; the first time Go builds Kubernetes)
	@[[ $$EUID == 0 ]] || { echo "cluster: it makes namespaces, so run it as root" >&2; exit 1; }
	@tests/tools/install.sh packages jq plugins apiserver kubectl helm containerd cluster
	@if [[ -x $(RELEASE)/ipamctl || $(META_CNI_BIN_DIR) != $(RELEASE) ]]; then $(MAKE) --no-print-directory image; \
	else $(MAKE) --no-print-directory build-demo && $(MAKE) --no-print-directory image META_CNI_BIN_DIR=$(DEMO); fi
	@tests/cluster/first.sh

cluster-stop: ## Ends that cluster, and removes all of it
	@tests/cluster/cluster.sh stop

image: fetch ## The image, target/image/meta-cni.tar, with its SBOM; META_CNI_BIN_DIR names other executables
	@[[ $(META_CNI_BIN_DIR) != $(RELEASE) ]] || $(MAKE) --no-print-directory build
	@tests/tools/install.sh jq
	deploy/image/build.sh target/image

release: build fetch ## What a release consists of, in target/dist: executables, image, chart, manifests, SBOM, checksums
	@tests/tools/install.sh jq helm
	deploy/release/build.sh target/dist

fetch: # What an SBOM is made of without network: more crates than `build` needs
	@cargo fetch --quiet --locked --target $(TARGET)

manifests: ## Writes the manifests of deploy/ from the chart, and the chart's page
	@tests/tools/install.sh helm
	deploy/manifests.sh
	deploy/chart/readme.sh

test: ## Everything (root); the count of tests by rung comes last
	@rm -f target/test-lacking.txt target/test-*.log
	@$(MAKE) --no-print-directory $(RUNGS:%=test-%)
	@tests/tools/summary.sh $(RUNGS)

test-unit: ## Unit and property tests
	@tests/tools/install.sh jq
	@tests/tools/rung.sh unit

test-fuzz: ## Every parser of what strangers write, with made-up input
	@mkdir -p target; printf '\n== fuzz\n'
	@tests/tools/fuzz.sh 2>&1 | tee target/test-fuzz.log

test-harness: build tools ## The harness itself: namespaces, plugins, API server; and which crate imports which
	@tests/tools/rung.sh harness

test-builtin: build tools ## The built-in plugins beside the reference plugins: answers, kernel state and files after every command
	@tests/tools/rung.sh builtin --nocapture

test-conformance: build tools ## One test for each row of what a drop-in for Multus must do
	@tests/tools/rung.sh conformance

test-delegates: build tools ## Every reference plugin through meta-cni, in real namespaces
	@tests/tools/rung.sh delegates

test-faults: build tools ## kill -9 at every step, hanging plugins, full disks
	@tests/tools/rung.sh faults

test-kubernetes: build tools ## A real etcd and kube-apiserver, and pods that a real Multus made
	@tests/tools/install.sh kubectl multus whereabouts
	@tests/tools/rung.sh kubernetes

test-agent: build tools ## meta-cni through its node's agent, and without it
	@tests/tools/rung.sh agent

test-runtime: build tools ## Sandboxes of a real containerd, driven over CRI; restarts, a reboot
	@tests/tools/install.sh containerd
	@tests/tools/rung.sh runtime

test-cluster: build tools ## Image and chart in a real cluster: kubelet, containerd; 60 pods, upgrades and a reboot under load, migration (not part of `make test`)
	@tests/tools/install.sh jq kubectl helm containerd cluster multus whereabouts
	@$(MAKE) --no-print-directory image
	@tests/tools/rung.sh cluster --test-threads=1 --nocapture

test-previous: build tools ## The previous release (PREVIOUS) and this one beside each other, in every combination, under load (not part of `make test`)
	@folder=$$(tests/tools/previous.sh $(PREVIOUS)); E2E_PREVIOUS_BIN_DIR=$$folder tests/tools/rung.sh previous --test-threads=1 --nocapture

test-doctor: build tools ## meta-cni doctor: the first line names each of many faults, a healthy node has none
	@tests/tools/rung.sh doctor

test-storm: build tools ## 20 pods a second while everything around them is restarted and replaced
	@tests/tools/rung.sh storm --test-threads=1 --nocapture

test-ipam: build tools ## The address service: kill -9, full disks, everybody at once, rubbish
	@tests/tools/rung.sh ipam

test-damage: build tools ## The store on damaged disks: random damages, power cuts at every fsync, kills, a full disk
	@tests/tools/rung.sh damage --nocapture

test-replicas: build ## Several servers over one etcd: members and servers are killed, hang, are cut off; one log explains all answers. On etcd 3.4 and 3.7; ETCD names one
	@tests/tools/install.sh packages $(if $(ETCD),,etcd)
	@tests/tools/rung.sh replicas --test-threads=2 --nocapture

test-security: build tools ## What tenants, nodes and strangers must not be able to do
	@tests/tools/rung.sh security

test-clients: build tools ## The example clients of ipam.v1 against a real server
	@tests/tools/install.sh clients
	@tests/tools/rung.sh clients

test-demo: build tools ## The demo, twice, and interrupted half way
	@tests/tools/rung.sh demo

test-kernel: build tools ## What this kernel cannot run (vlan, ipvlan, vrf, dummy, ...), under Debian's user-mode Linux
	@tests/tools/install.sh kernel
	@tests/tools/kernel/run.sh

lint: ## Format, clippy, licences, shellcheck, documentation with its links; warnings are errors
	@tests/tools/install.sh deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(TOOLS)/cargo-deny/bin/cargo-deny --locked check bans licenses sources
	@tests/tools/install.sh shellcheck
	$(TOOLS)/shellcheck/usr/bin/shellcheck --exclude SC2317 .ci/run examples/demo.sh tests/cluster/*.sh tests/tools/*.sh tests/tools/kernel/*.sh findings/*.sh deploy/*.sh deploy/*/*.sh
	tests/tools/rpcs.sh check
	$(MAKE) --no-print-directory lint-deploy docs

lint-deploy: fetch ## The chart with many files of values, the manifests that are made from it, the image and a release twice
	@tests/tools/install.sh jq kubectl helm
	deploy/chart/test.sh
	deploy/image/test.sh
	deploy/release/test.sh

validate-chart: ## What the chart makes of many files of values, before a real kube-apiserver
	@tests/tools/install.sh packages apiserver kubectl helm
	deploy/chart/validate.sh

bench: bench-attach bench-ipam bench-agent bench-etcd ## All benchmarks

bench-attach: build tools ## ADD and DEL beside bare plugins; target/bench/attach.json and .svg
	cargo build --profile bench --locked --package e2e --bin noop --bin bare-netlink
	cargo bench --locked --package e2e --bench attach

bench-ipam: build tools ## Leases beside their floors; target/bench/ipam.json and plots
	cargo build --profile bench --locked --package e2e --bin noop --bin bare-netlink
	cargo bench --locked --package e2e --bench ipam

bench-agent: build tools ## The same through the agent, and its memory; target/bench/agent.json and .svg
	cargo build --profile bench --locked --package e2e --bin noop --bin bare-netlink
	cargo bench --locked --package e2e --bench agent

bench-etcd: build ## Leases of servers over etcd beside transactions of etcd; target/bench/etcd.json and plots. ETCD names the program
	@tests/tools/install.sh packages
	cargo bench --locked --package e2e --bench etcd

sim: build ## 5,000 nodes with 40 pods each, whose pods come and go, on sled and on etcd: nothing twice, nothing left; target/bench/sim.json
	@tests/tools/install.sh packages
	cargo bench --locked --package e2e --bench sim

bench-cluster: build tools ## 60 pods with three interfaces under a kubelet, beside the primary network alone, and beside Multus with whereabouts
	@tests/tools/install.sh jq kubectl helm containerd cluster multus whereabouts
	@$(MAKE) --no-print-directory image
	cargo bench --locked --package e2e --bench cluster

docs: book ## The documentation of the crates, in target/<host>/doc, and the book
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

book: ## The book of docs/, in target/book/docs/src
	@tests/tools/install.sh mdbook
	@tests/tools/links.sh
	$(TOOLS)/mdbook/bin/mdbook build docs
	@for folder in deploy examples findings proto; do ln -sfn ../../$$folder target/book/$$folder; done

flags: ## Writes docs/src/flags.md from the types of the command lines
	cargo run --locked --package reference

rpcs: ## Writes docs/src/rpcs.md from the comments of the contract
	tests/tools/rpcs.sh

crds: ## Writes crds/yaml from the types
	cargo run --package crds --example generate

architecture: ## Draws the picture of the crates in ARCHITECTURE.md
	WRITE_ARCHITECTURE=1 cargo test --locked --workspace --exclude fuzz --test e2e -- harness::workspace::picture

audit: ## Known vulnerabilities of dependencies (asks the advisory database)
	@tests/tools/install.sh deny
	$(TOOLS)/cargo-deny/bin/cargo-deny check advisories

musl: ## The executables for musl (rustup target add x86_64-unknown-linux-musl)
	cargo build --release --locked --package meta-cni --package meta-cnid --bins --target x86_64-unknown-linux-musl

tools: ## What the tests need: packages, pinned plugins, kube-apiserver
	@tests/tools/install.sh packages plugins apiserver

tools-ahead: # The pinned Go programs of all rungs, for whoever has idle processors: CI builds them beside its compiler
	@tests/tools/install.sh plugins apiserver kubectl multus helm

clean: ## Removes target/
	cargo clean
