# Two commands do it all on a machine with Go: make run, make test.

GO ?= go

.PHONY: run build test e2e fuzz lint golden clean

run: build
	bin/caddy run --config Caddyfile.example

build:
	$(GO) build -o bin/caddy ./cmd/caddy

test:
	$(GO) test $(TESTFLAGS) ./...

# A real identity provider, a real upstream, a real browser and a real Prometheus.
e2e: e2e/node_modules/.package-lock.json
	cd e2e && $(GO) test $(TESTFLAGS) ./...

# axe-core, which looks at the pages. Without npm its tests say that they are skipped.
e2e/node_modules/.package-lock.json: e2e/package-lock.json
	@if command -v npm >/dev/null; then cd e2e && npm ci --omit=optional; else echo "NO NPM: axe-core is not installed"; fi

# Each fuzz target for FUZZTIME. Before Go 1.27 a run may fail with "context deadline exceeded" when its time is up
# (https://go.dev/issue/75804); that alone is no finding. Shrinking what is only interesting is cut short: it takes up
# to a minute for each input.
FUZZTIME ?= 1m
FUZZPKGS ?= ./internal/token ./internal/keyset ./internal/page .
fuzz:
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	for pkg in $(FUZZPKGS); do \
		targets=$$($(GO) test -list '^Fuzz' $$pkg) || exit 1; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			if $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1000x $$pkg >"$$log" 2>&1; then \
				tail -n 3 "$$log"; \
			elif grep -q '^ *context deadline exceeded$$' "$$log" && ! grep -q -e 'Failing input' -e 'panic' "$$log"; then \
				echo "stopped at the end of its time, nothing found"; \
			else \
				cat "$$log"; exit 1; \
			fi; \
		done; \
	done

lint:
	golangci-lint run ./...

# Rewrites the expected output of adapt tests and pages; read the diff.
golden:
	$(GO) test . ./internal/page -update

clean:
	rm -rf bin
