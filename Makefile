# virtree. `make help` lists what there is to make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# What the tests are run over, and how long a fuzz target runs.
PKG      ?= ./...
FUZZTIME ?= 10s
# Where `make run` puts its tree; `make stop` ends and removes it.
RUNROOT  ?= /tmp/virtree
MODE     ?=

DAEMONS := libvirtd virtqemud virtproxyd virtnetworkd virtstoraged virtnwfilterd \
           virtnodedevd virtinterfaced virtsecretd virtlogd virtlockd

# Debian packages by purpose. The reference daemon, libvirtd, is only for tests.
RUN_PACKAGES  := qemu-system-x86 qemu-utils ovmf libvirt-clients cpio lz4 xz-utils zstd iproute2 util-linux
TEST_PACKAGES := $(RUN_PACKAGES) gcc libc6-dev libvirt-daemon-system python3-libvirt bsdutils \
                 procps tshark libvirt-wireshark dnsmasq-base iptables dbus libnss-libvirt isc-dhcp-client swtpm swtpm-tools openssl iputils-ping virtinst \
                 nftables busybox libvirt-daemon-config-nwfilter parted lvm2 e2fsprogs chromium-headless-shell prometheus mdevctl pci.ids usb.ids libxml2-utils
STATICCHECK   := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/virtree, and bin/libvirtd, bin/virtqemud, ... as links to it
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/virtree .
	@for d in $(DAEMONS); do ln -sfn virtree bin/$$d; done

.PHONY: gen
gen: ## write the generated code again from the schemas
	@go generate ./...

.PHONY: test
test: deps-test build guest ## install what the tests need, and run them all
	@go test -count=1 -timeout 20m $$(go list $(PKG) | grep -v /bench/)
	@go test -count=1 -timeout 40m -p 1 ./bench/... # one at a time: they measure

.PHONY: race
race: deps-test build guest ## the tests with the race detector
	@go test -race -count=1 -timeout 60m $(PKG)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	@go list -f '{{.ImportPath}}' $(PKG) | while read -r p; do \
	  go test -list '^Fuzz' $$p | grep '^Fuzz' | while read -r f; do \
	    echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p; done || :; done

.PHONY: e2e
e2e: deps-test build guest ## real clients against real trees, in both modes, and the long soaks
	@VIRTREE_LONG=1 go test -count=1 -timeout 60m -v ./bench/e2e

.PHONY: diff
diff: deps-test build guest ## the same commands against libvirtd and against us
	@go test -count=1 -timeout 40m ./bench/diff

.PHONY: diff-report
diff-report: deps-test build guest ## one line per virsh command: agrees, differs, untested
	@go test -count=1 -timeout 20m ./bench/diff -report "$${PWD}/bench/diff/REPORT.md" || :
	@cat bench/diff/REPORT.md

.PHONY: bench
bench: deps-test build ## RPC latency, throughput and memory beside libvirtd; table and plot
	@go run ./bench/rpc -out bench/results

.PHONY: bench-cost
bench-cost: deps-test build ## what supervision costs: pieces of a call, wake-ups at rest, memory, beside libvirtd
	@go run ./bench/cost -out bench/results

# How many guests run in each of the three systems, at about 20 MiB each.
GUESTS ?= 100

.PHONY: bench-isolation
bench-isolation: deps-test build ## faults x places x systems: what everybody else feels; 15 minutes; table, JSON, page
	@bin/virtree bench isolation --out bench/results --guests $(GUESTS)

.PHONY: lint
lint: ## staticcheck, pinned; not a dependency of the module
	@go run $(STATICCHECK) $(PKG)

.PHONY: check
check: deps-test ## what has to hold before a change goes in
	@echo "== format"; bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not gofmt-ed: $$bad"; exit 1; }
	@echo "== vet"; go vet ./...
	@echo "== lint"; $(MAKE) lint
	@echo "== generated code is fresh"; sums() { git grep -l '^// Code generated' -- '*.go' | xargs -r sha256sum; }; \
	  was=$$(sums); $(MAKE) gen; [ "$$was" = "$$(sums)" ] || { echo "make gen changed files: commit them"; exit 1; }
	@echo "== tests with the race detector, fuzz seeds among them"; $(MAKE) race

.PHONY: guest
guest: ## the small guest that tests and `make run` boot
	@bench/guest/build.sh "$${VIRTREE_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/virtree}/guest" >&2

.PHONY: run
run: deps-run build guest ## start a tree below RUNROOT, boot a guest in it, and show both
	@bench/run.sh "$(RUNROOT)" $(MODE)

.PHONY: stop
stop: ## end what `make run` started, guests too
	@bench/run.sh --stop "$(RUNROOT)"

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin bench/results

# ---- packages ------------------------------------------------------------------
# Installs the missing ones once, quietly, when it may; else says which are missing
# and goes on: tests skip what they cannot have.
define install
	@missing=; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing:$$missing" >&2; export DEBIAN_FRONTEND=noninteractive; \
	    apt-get -qq update >/dev/null; apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	  else echo "not installed:$$missing" >&2; fi; fi
endef

.PHONY: deps-run deps-test
deps-run:
	$(call install,$(RUN_PACKAGES))
deps-test:
	$(call install,$(TEST_PACKAGES))
