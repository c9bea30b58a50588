# Two commands do it all on a machine with Go: make run, make test.

GO ?= go

.PHONY: run build test e2e fuzz lint golden clean

run: build
	bin/caddy run --config Caddyfile.example

build:
	$(GO) build -o bin/caddy ./cmd/caddy

test:
	$(GO) test $(TESTFLAGS) ./...

# A real identity provider, a real upstream and a real browser.
e2e:
	cd e2e && $(GO) test $(TESTFLAGS) ./...

# Each fuzz target for FUZZTIME.
FUZZTIME ?= 1m
fuzz:
	@for pkg in ./internal/token ./internal/keyset ./internal/page .; do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

lint:
	golangci-lint run ./...

# Rewrites the expected output of adapt tests and pages; read the diff.
golden:
	$(GO) test . ./internal/page -update

clean:
	rm -rf bin
