# What people type. Every target does only what is missing: a second run of any of them spends no time on set-up.
#
# Owns: the order of the steps and where the build leaves its results.
# Leaves to others: where PHP is (dev/), what a demo, a test, a lint and a bench are (the scripts called here).

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

server := target/release/fanfare
extension := target/fanfare.so
# rustup's place, for shells that were not told about it.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
# A person may be about to change dependencies; CI builds what was committed, or fails.
locked := $(if $(CI),--locked)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: dev server extension ## build the server and the extension, and say where they are
	@echo "server:    $(CURDIR)/$(server)"
	@echo "extension: $(CURDIR)/$(extension) (for $$(dev/run php -r 'echo "PHP ", PHP_VERSION;'); loaded by dev/run)"

.PHONY: demo
demo: build ## run the chat example: proves itself, then stays up until Ctrl-C (DEMO_ONCE=1: only the proof)
	@exec examples/chat/demo

.PHONY: test
test: build ## run all tests, with real PHP, extension, server and clients
	@exec tests/run

.PHONY: lint
lint: dev ## check format, lints and house rules
	@exec tests/lint

.PHONY: bench
bench: build ## measure beside the floor and rivals (some 15 minutes; builds sockudo the first time)
	@exec bench/run --rivals

.PHONY: bench-full
bench-full: build ## the same with more repetitions and more of everything (an hour or two)
	@exec bench/run --rivals --full

.PHONY: dist
dist: build ## pack the extension, the server and the extension's source, with checksums, in target/dist
	@exec dist/build

.PHONY: clean
clean: ## remove what was built here (not the cached root)
	rm -rf target

.PHONY: clean-root
clean-root: ## remove the cached roots, of this and of older package lists
	@dev/setup --remove-roots

# Steps of the above.

.PHONY: dev
dev:
	@dev/setup

# Built on the machine itself: that is where it runs.
.PHONY: server
server: dev
	@cargo build --release $(locked) --package fanfare-server --target-dir target

# Built where PHP is, in a target directory of its own because the two places have different C libraries. It is put in
# place by rename, since a PHP that runs has the old file mapped, and only when it differs. The PHP that is asked for its
# settings while it is built does not load the one built before, which may be broken.
.PHONY: extension
extension: dev
	@dev/run env --unset=PHP_INI_SCAN_DIR cargo build --release $(locked) --package fanfare-ext --target-dir target/ext
	@mkdir -p target/php.d
	@cmp -s target/ext/release/libfanfare.so $(extension) || { \
		cp target/ext/release/libfanfare.so $(extension).$$$$ && mv -f $(extension).$$$$ $(extension); }
	@echo 'extension="$(CURDIR)/$(extension)"' | cmp -s - target/php.d/fanfare.ini || { \
		echo 'extension="$(CURDIR)/$(extension)"' >target/php.d/fanfare.ini.$$$$ && \
		mv -f target/php.d/fanfare.ini.$$$$ target/php.d/fanfare.ini; }
