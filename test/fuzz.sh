#!/bin/sh
# Runs every fuzz target for FUZZTIME, one after the other: so many inputs, for a run that ends by
# the clock now and then fails with its own deadline. What is interesting is
# kept in Go's build cache; what fails is written to testdata/fuzz, to be committed.
set -eu
go=${GO:-go} time=${FUZZTIME:-1000x} count=0
for package in $("$go" list ./...); do
	dir=$("$go" list -f '{{.Dir}}' "$package")
	for target in $(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		# Shrinking what is interesting would take most of so short a time.
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$package"
		count=$((count + 1))
	done
done
[ "$count" -gt 20 ] || { echo "fuzz: only $count targets found" >&2; exit 1; }
echo "fuzz: $count targets, $time each"
