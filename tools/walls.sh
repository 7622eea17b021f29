#!/bin/sh
# Checks the walls that need the import graph; .golangci.yml has those that a
# single file shows. Run it in the root of the repository.
set -eu
go=${GO:-go}

# Nothing of Kubernetes reaches the contract or a function, not through another package either.
imports=$("$go" list -deps -test ./event/... ./serve/... ./functions/...)
kubernetes=$(echo "$imports" | grep -E '^(sigs\.)?k8s\.io/' || true)
if [ -n "$kubernetes" ]; then
	echo "walls: event, serve or functions depend on Kubernetes:" >&2
	echo "$kubernetes" | head -n 5 >&2
	exit 1
fi

# A function, its command and its tests import no other function.
module=$("$go" list -m)
edges=$("$go" list -f '{{$from := .ImportPath}}{{range .Imports}}{{$from}} {{.}}
{{end}}{{range .TestImports}}{{$from}} {{.}}
{{end}}{{range .XTestImports}}{{$from}} {{.}}
{{end}}' ./functions/...)
echo "$edges" | awk -v prefix="$module/functions/" '
	function name(path) { path = substr(path, length(prefix) + 1); sub(/\/.*/, "", path); return path }
	index($2, prefix) == 1 && name($1) != name($2) { print "walls: " $1 " imports " $2 > "/dev/stderr"; bad = 1 }
	END { exit bad }'
